package registry

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// TestManifestMemory: what is small on the wire stays small in memory.
func TestManifestMemory(t *testing.T) {
	const size, most = 1 << 20, 48 << 20
	// fill repeats the element between the two ends up to the size.
	fill := func(head, element, tail string) string {
		return head + strings.Repeat(element+",", (size-len(head)-len(element)-len(tail))/(len(element)+1)) + element + tail
	}
	var annotations strings.Builder
	for i := 0; annotations.Len() < size-100; i++ {
		fmt.Fprintf(&annotations, `,"k%x":""`, i)
	}
	manifests := map[string]string{
		"layers":      fill(`{"schemaVersion":2,"config":{},"layers":[`, `{}`, `]}`),
		"blobs":       fill(`{"schemaVersion":2,"config":{},"blobs":[`, `{}`, `]}`),
		"all three":   `{"layers":[{}],"blobs":[{}],` + fill(`"manifests":[`, `{}`, `]}`),
		"urls":        fill(`{"schemaVersion":2,"config":{},"layers":[{"urls":[`, `""`, `]}]}`),
		"many urls":   fill(`{"schemaVersion":2,"config":{},"layers":[`, `{"urls":[`+strings.Repeat(`"",`, 999)+`""]}`, `]}`),
		"features":    fill(`{"schemaVersion":2,"config":{"platform":{"os.features":[`, `""`, `]}}}`),
		"annotations": `{"schemaVersion":2,"annotations":{"a":""` + annotations.String() + `}}`,
		"layer's":     `{"schemaVersion":2,"layers":[{"annotations":{"a":""` + annotations.String() + `}}]}`,
		"other":       fill(`{"schemaVersion":2,"config":{},"x":[`, `{}`, `]}`),
		"history":     fill(`{"schemaVersion":1,"history":[`, `{}`, `]}`),
	}
	for name, m := range manifests {
		for _, contentType := range []string{typeImage, "application/json"} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decodeManifest(contentType, []byte(m), 2000)
			runtime.ReadMemStats(&after)
			if err == nil && contentType == typeImage {
				t.Errorf("%s: accepted", name)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > most {
				t.Errorf("%s as %s: %d MiB for a manifest of %d KiB", name, contentType, used>>20, len(m)>>10)
			}
		}
	}
}

// TestManifestAtItsLimits: as much as fits is taken, one more is not.
func TestManifestAtItsLimits(t *testing.T) {
	layers := func(n int) string { return image("", "{}", make([]string, n)...) }
	annotated := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":""`, i)
		}
		return image(`,"annotations":{`+b.String()[1:]+`}`, "{}")
	}
	// Beside the annotations an image has 5 fields, and 3 in its config.
	for _, tt := range []struct {
		body string
		ok   bool
	}{
		{layers(9), true}, {layers(10), false}, {layers(11), false}, // the config is one of ten
		{annotated(maxValues - 8), true}, {annotated(maxValues - 7), false},
	} {
		if _, err := decodeManifest(typeImage, []byte(tt.body), 10); (err == nil) != tt.ok {
			t.Errorf("%.60s…: %v", tt.body, err)
		}
	}
}

// TestLargeManifestsTakeTurns: only so many are decoded at a time; small ones
// pass them by.
func TestLargeManifestsTakeTurns(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	asImage := "Content-Type: " + typeImage
	large := image(`,"annotations":{"a":"`+strings.Repeat("x", largeManifest)+`"}`, "{}")
	for range cap(f.handler.decoding) {
		f.handler.decoding <- struct{}{}
	}
	done := make(chan answer)
	go func() {
		done <- f.do("PUT", "/v2/a/manifests/large", strings.NewReader(large), asImage)
	}()
	f.run(step{do: "PUT /v2/a/manifests/small", header: []string{asImage}, body: image("", "{}"), status: 201})
	select {
	case a := <-done:
		t.Errorf("it did not wait: %d %s", a.StatusCode, a.body)
	case <-time.After(100 * time.Millisecond):
		<-f.handler.decoding
		if a := <-done; a.StatusCode != 201 {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	if len(f.handler.decoding) != cap(f.handler.decoding)-1 {
		t.Errorf("%d turns are taken", len(f.handler.decoding))
	}
}

// TestAnnotationsAreMeasuredAsTheyAreKept: '<' takes six bytes in the row.
func TestAnnotationsAreMeasuredAsTheyAreKept(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	push := func(value string) step {
		return step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeImage},
			body: image(`,"annotations":{"a":"`+value+`"},"subject":`+desc(typeImage, "s"), "{}")}
	}
	for _, tt := range []struct {
		value  string
		status int
	}{
		{strings.Repeat("x", maxAnnotations-20), 201},
		{strings.Repeat("<", maxAnnotations/6-20), 201},
		{strings.Repeat("<", maxAnnotations/6+1), 400},
		{strings.Repeat("<", maxAnnotations-20), 400},
		{strings.Repeat("\u2028", maxAnnotations/3-20), 400},
	} {
		s := push(tt.value)
		s.status = tt.status
		if s.status == 400 {
			s.code = CodeManifestInvalid
		}
		f.run(s)
	}
	// Without a subject nothing repeats them.
	f.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeImage}, status: 201,
		body: image(`,"annotations":{"a":"`+strings.Repeat("<", 1<<20)+`"}`, "{}")})
}

// TestManifestOverATableLimit: should one get past the checks, its client is
// told so, and not to try again for ever.
func TestManifestOverATableLimit(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	f.tableHook.Before = func(c table.Call) error {
		if c.Op == table.OpWrite {
			return fmt.Errorf("test: %w", table.ErrLimit)
		}
		return nil
	}
	f.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: image("", "{}"), status: 400, code: CodeManifestInvalid})
}

// TestUnknownChildren: what the children of an index are is not always known:
// a manifest or a blob is fine, and held either way.
func TestUnknownChildren(t *testing.T) {
	const typeOdd = "application/vnd.example.odd+json"
	f := newFixture(t)
	f.pushBlob("a", "blob")
	f.run(step{do: "PUT /v2/a/manifests/" + sha("odd"), header: []string{"Content-Type: " + typeOdd}, body: "odd", status: 201})
	list := func(contents ...string) string {
		var l []string
		for _, c := range contents {
			l = append(l, desc(typeOdd, c))
		}
		return `{"schemaVersion":2,"manifests":[` + strings.Join(l, ",") + `]}`
	}
	asIndex := []string{"Content-Type: " + typeIndex}
	f.run(
		step{do: "PUT /v2/a/manifests/both", header: asIndex, body: list("blob", "odd"), status: 201},
		step{do: "PUT /v2/a/manifests/none", header: asIndex, body: list("blob", "odd", "absent"), status: 404, code: CodeManifestBlobUnknown},
		step{do: "DELETE /v2/a/blobs/" + sha("blob"), status: 405, code: CodeDenied},
		step{do: "GET /v2/a/manifests/" + sha("odd"), status: 200, text: "odd"},
	)
}

// TestForeignLayersThatWerePushed: layers that need not be there but are, are
// held like the others, however many, and so are those that come later.
func TestForeignLayersThatWerePushed(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	var layers, contents []string
	for i := range 40 {
		c := fmt.Sprint("foreign ", i)
		contents = append(contents, c)
		if i%2 == 0 {
			layers = append(layers, desc("application/vnd.oci.image.layer.nondistributable.v1.tar", c))
		} else {
			layers = append(layers, strings.Replace(desc(typeLayer, c), "{", `{"urls":["https://example.com/x"],`, 1))
		}
		if i < 30 {
			f.pushBlob("a", c)
		}
	}
	m := `{"schemaVersion":2,"config":` + desc("application/x.y", "{}") + `,"layers":[` + strings.Join(layers, ",") + `]}`
	f.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: m, status: 201})
	for i, c := range contents {
		if i >= 30 {
			f.run(step{do: "GET /v2/a/blobs/" + sha(c), status: 404})
			f.pushBlob("a", c)
		}
		f.run(step{do: "DELETE /v2/a/blobs/" + sha(c), status: 405, code: CodeDenied})
	}
}

// TestMediaTypeInAnotherCase: a known type is known in any case, wherever it
// stands, and what it needs has to be there.
func TestMediaTypeInAnotherCase(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	odd := func(s string) string { return strings.ReplaceAll(s, "application/vnd.oci", "Application/VND.oci") }
	whole, lacking := odd(image("", "{}")), odd(image("", "not there"))
	for _, header := range [][]string{nil, {"Content-Type: " + typeImage}, {"Content-Type: " + odd(typeImage)}} {
		f.run(
			step{do: "PUT /v2/a/manifests/v1", header: header, body: lacking, status: 404, code: CodeManifestBlobUnknown},
			step{do: "PUT /v2/a/manifests/v1", header: header, body: whole, status: 201},
			step{do: "GET /v2/a/manifests/v1", status: 200, text: whole, want: map[string]string{"Content-Type": typeImage}},
		)
	}
	d, err := decodeManifest(typeIndex, []byte(odd(`{"schemaVersion":2,"manifests":[`+desc(typeImage, "x")+`]}`)), 10)
	if err != nil || len(d.manifests) != 1 {
		t.Errorf("the child of an index: %+v, %v", d, err)
	}
	d, err = decodeManifest(typeImage, []byte(odd(`{"schemaVersion":2,"config":`+desc("a/b", "x")+`,"layers":[`+desc(foreignLayers[0]+"v1.tar", "y")+`]}`)), 10)
	if err != nil || len(d.foreign) != 1 {
		t.Errorf("a foreign layer: %+v, %v", d, err)
	}
}

// TestSchema1InDisguise: schema 1 is refused under every name but those of
// other things that only look a little like it.
func TestSchema1InDisguise(t *testing.T) {
	for body, refused := range map[string]bool{
		`{"schemaVersion":1,"fsLayers":[]}`:                               true,
		`{"fsLayers":null,"schemaVersion":1}`:                             true,
		`{"schemaVersion":1.0,"fsLayers":[]}`:                             true,
		`{"schemaVersion":1,"history":[{"v1Compatibility":"{}"}]}`:        true,
		`{"schemaVersion":1,"signatures":[{"header":{},"protected":""}]}`: true,
		`{"schemaVersion":1}`:                                             false,
		`{"schemaVersion":1,"history":[]}`:                                false,
		`{"schemaVersion":1,"history":["a"],"signatures":"b"}`:            false,
		`{"schemaVersion":2,"fsLayers":[]}`:                               false,
		`{"schemaVersion":"1","fsLayers":[]}`:                             false,
		`{"fsLayers":[]}`:                                                 false,
		`[{"schemaVersion":1,"fsLayers":[]}]`:                             false,
	} {
		for _, contentType := range []string{"application/json", "application/vnd.example.odd"} {
			_, err := decodeManifest(contentType, []byte(body), 10)
			if got := err != nil && strings.Contains(err.Error(), "schema 1"); got != refused {
				t.Errorf("%s as %s: %v", body, contentType, err)
			}
		}
	}
}
