package registry

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta"
)

func TestManifestRoundTrip(t *testing.T) {
	f := newFixture(t)
	m := f.pushImage("team/app", "v1", "", "{}", "layer one", "layer two")
	d := sha(m)
	whole := map[string]string{
		"Content-Type": typeImage, "Docker-Content-Digest": d, "ETag": `"` + d + `"`,
		"Content-Length": itoa(len(m)), "Accept-Ranges": "bytes",
	}
	f.run(
		step{do: "GET /v2/team/app/manifests/v1", status: 200, want: whole, text: m},
		step{do: "GET /v2/team/app/manifests/" + d, status: 200, want: whole, text: m},
		step{do: "HEAD /v2/team/app/manifests/v1", status: 200, want: whole},
		step{do: "HEAD /v2/team/app/manifests/" + d, status: 200, want: whole},
		// Nothing is converted, whatever the client would like.
		step{do: "GET /v2/team/app/manifests/v1", header: []string{"Accept: " + mediaTypeSchema1}, status: 200, want: whole},
		step{do: "GET /v2/team/app/manifests/v1", header: []string{`If-None-Match: "` + d + `"`}, status: 304},
		step{do: "HEAD /v2/team/app/manifests/v1", header: []string{`If-None-Match: "` + d + `"`}, status: 304},
		step{do: "HEAD /v2/team/app/manifests/v1", header: []string{`If-None-Match: "other"`}, status: 200},
		step{do: "GET /v2/team/app/manifests/v1", header: []string{"Range: bytes=1-3"}, status: 206, text: m[1:4]},
		step{do: "GET /v2/team/app/manifests/v1", header: []string{"Range: lines=1-3"}, status: 200, want: whole, text: m},
		step{do: "HEAD /v2/team/app/manifests/v1", header: []string{"Range: bytes=1-3"}, status: 200, want: whole},
		step{do: "HEAD /v2/team/app/manifests/v1", header: []string{"Range: bytes=1-3", `If-None-Match: "other"`}, status: 200, want: whole},
		step{do: "GET /v2/team/app/manifests/v1", header: []string{"Range: bytes=99999-"}, status: 416, code: CodeSizeInvalid},
		step{do: "GET /v2/team/app/manifests/v2", status: 404, code: CodeManifestUnknown},
		step{do: "GET /v2/other/manifests/" + d, status: 404, code: CodeManifestUnknown},
		step{do: "HEAD /v2/other/manifests/" + d, status: 404},

		step{do: "DELETE /v2/team/app/manifests/v1", status: 202},
		step{do: "GET /v2/team/app/manifests/v1", status: 404, code: CodeManifestUnknown},
		step{do: "DELETE /v2/team/app/manifests/v1", status: 404, code: CodeManifestUnknown},
		step{do: "GET /v2/team/app/manifests/" + d, status: 200, text: m},
		step{do: "DELETE /v2/team/app/manifests/" + d, status: 202},
		step{do: "GET /v2/team/app/manifests/" + d, status: 404, code: CodeManifestUnknown},
		step{do: "DELETE /v2/team/app/manifests/" + d, status: 404, code: CodeManifestUnknown},
	)
}

// TestManifestHeadHasBody: behind API Gateway the Content-Length of the answer
// to HEAD is that of the body, so the handler has to write one.
func TestManifestHeadHasBody(t *testing.T) {
	f := newFixture(t)
	m := f.pushImage("team/app", "v1", "", "{}")
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, httptest.NewRequest("HEAD", "/v2/team/app/manifests/v1", nil))
	if w.Code != 200 || w.Body.String() != m {
		t.Errorf("HEAD = %d with %d bytes, want 200 with %d", w.Code, w.Body.Len(), len(m))
	}
}

func TestManifestPush(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	f.pushBlob("a", "one")
	m := image("", "{}", "one")
	asImage := []string{"Content-Type: " + typeImage}
	created := map[string]string{"Location": "/v2/a/manifests/" + sha(m), "Docker-Content-Digest": sha(m), "OCI-Subject": ""}
	f.run(
		step{do: "PUT /v2/a/manifests/v1", header: asImage, body: m, status: 201, want: created},
		step{do: "PUT /v2/a/manifests/v1", header: asImage, body: m, status: 201, want: created},
		step{do: "PUT /v2/a/manifests/" + sha(m), header: asImage, body: m, status: 201, want: created},
		step{do: "GET $loc", status: 200, text: m},
		step{do: "PUT /v2/a/manifests/" + sha512(m), header: asImage, body: m, status: 201,
			want: map[string]string{"Location": "/v2/a/manifests/" + sha512(m), "Docker-Content-Digest": sha512(m)}},
		step{do: "GET $loc", status: 200, text: m, want: map[string]string{"Docker-Content-Digest": sha512(m)}},

		// Content-Type: parameters are ignored, absence is filled from the body.
		step{do: "PUT /v2/a/manifests/v2", header: []string{"Content-Type: " + typeImage + "; charset=utf-8"}, body: m, status: 201},
		step{do: "PUT /v2/a/manifests/v2", header: []string{"Content-Type: " + strings.ToUpper(typeImage)}, body: m, status: 201},
		step{do: "PUT /v2/a/manifests/v3", body: m, status: 201},
		step{do: "GET /v2/a/manifests/v3", status: 200, want: map[string]string{"Content-Type": typeImage}},
		step{do: "PUT /v2/a/manifests/v4", header: []string{"Content-Type: " + typeIndex}, body: m, status: 400, code: CodeManifestInvalid},
		step{do: "PUT /v2/a/manifests/v4", header: []string{"Content-Type: nonsense"}, body: m, status: 400, code: CodeManifestInvalid},
		step{do: "PUT /v2/a/manifests/v4", body: `{"schemaVersion":2}`, status: 400, code: CodeManifestInvalid},
		step{do: "PUT /v2/a/manifests/v4", header: asImage, status: 400, code: CodeManifestInvalid},

		step{do: "PUT /v2/a/manifests/" + sha("other"), header: asImage, body: m, status: 400, code: CodeDigestInvalid},
		step{do: "PUT /v2/a/manifests/-v4", header: asImage, body: m, status: 400, code: CodeTagInvalid},
		step{do: "PUT /v2/a/manifests/" + strings.Repeat("t", 129), header: asImage, body: m, status: 400, code: CodeTagInvalid},

		// Tags beside a digest.
		step{do: "PUT /v2/a/manifests/" + sha(m) + "?tag=x&tag=y", header: asImage, body: m, status: 201},
		step{do: "GET /v2/a/manifests/x", status: 200, text: m},
		step{do: "GET /v2/a/manifests/y", status: 200, text: m},
		step{do: "PUT /v2/a/manifests/" + sha(m) + "?tag=.x", header: asImage, body: m, status: 400, code: CodeTagInvalid},
		step{do: "PUT /v2/a/manifests/" + sha(m) + "?tag=" + strings.Repeat("&tag=t", 11), header: asImage, body: m, status: 414, code: CodeTagInvalid},

		// Unknown types are kept byte for byte.
		step{do: "PUT /v2/a/manifests/odd", header: []string{"Content-Type: application/vnd.example.odd+json"}, body: " {\"x\": 1 }\n", status: 201},
		step{do: "GET /v2/a/manifests/odd", status: 200, text: " {\"x\": 1 }\n", want: map[string]string{"Content-Type": "application/vnd.example.odd+json"}},
		step{do: "PUT /v2/a/manifests/odd", header: []string{"Content-Type: application/octet-stream"}, body: m, status: 400, code: CodeManifestInvalid},

		// Schema 1 is refused.
		step{do: "PUT /v2/a/manifests/s1", header: []string{"Content-Type: " + mediaTypeSchema1Sig}, body: `{"schemaVersion":1}`, status: 400, code: CodeManifestInvalid},
	)
	a := f.do("PUT", "/v2/a/manifests/"+sha(m)+"?tag=p&tag=q", strings.NewReader(m), asImage...)
	if got := a.Header.Values("OCI-Tag"); !slices.Equal(got, []string{"p", "q"}) {
		t.Errorf("OCI-Tag is %q", got)
	}
}

func TestManifestMissingContent(t *testing.T) {
	f := newFixture(t)
	a := f.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeImage},
		body: image("", "{}", "one", "two"), status: 404, code: CodeManifestBlobUnknown})
	if got := len(a.codes()); got != 3 {
		t.Errorf("%d errors, want one for each of 3 blobs: %s", got, a.body)
	}
	for _, content := range []string{"{}", "one", "two"} {
		if !strings.Contains(a.body, sha(content)) {
			t.Errorf("the answer does not name %s: %s", sha(content), a.body)
		}
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprint("layer ", i))
	}
	a = f.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeImage},
		body: image("", "{}", many...), status: 404, code: CodeManifestBlobUnknown})
	if got := len(a.codes()); got != maxMissing {
		t.Errorf("%d errors, want %d at most", got, maxMissing)
	}
	// A blob of another repository is not this one's.
	f.pushBlob("b", "{}")
	f.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeImage},
		body: image("", "{}"), status: 404, code: CodeManifestBlobUnknown})
	// A child of an index has to be there as a manifest.
	f.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeIndex},
		body: index("", image("", "{}")), status: 404, code: CodeManifestBlobUnknown})
}

func TestManifestSparse(t *testing.T) {
	f := newFixture(t, func(c *Config, _ *meta.Options) { c.AllowMissing = true })
	m := index("", "not there")
	f.run(
		step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: " + typeIndex}, body: m, status: 201},
		step{do: "GET /v2/a/manifests/v1", status: 200, text: m},
		step{do: "PUT /v2/a/manifests/v2", header: []string{"Content-Type: " + typeImage}, body: image("", "{}"), status: 201},
		step{do: "GET /v2/a/blobs/" + sha("{}"), status: 404, code: CodeBlobUnknown},
	)
}

func TestManifestKinds(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	f.pushBlob("a", "one")
	img := f.pushImage("a", "img", "", "{}", "one")
	config := desc("application/vnd.oci.image.config.v1+json", "{}")
	tests := map[string]struct{ mediaType, body string }{
		"nested index":    {typeIndex, index("", img)},
		"empty index":     {typeIndex, index("")},
		"null manifests":  {typeIndex, `{"schemaVersion":2,"manifests":null}`},
		"docker image":    {mediaTypeDocker, `{"schemaVersion":2,"mediaType":"` + mediaTypeDocker + `","config":` + desc("application/vnd.docker.container.image.v1+json", "{}") + `,"layers":[` + desc("application/vnd.docker.image.rootfs.diff.tar.gzip", "one") + `]}`},
		"docker list":     {mediaTypeDockerList, `{"schemaVersion":2,"mediaType":"` + mediaTypeDockerList + `","manifests":[` + desc(typeImage, img) + `]}`},
		"artifact":        {mediaTypeArtifact, `{"mediaType":"` + mediaTypeArtifact + `","artifactType":"application/x.y","blobs":[` + desc("text/plain", "one") + `]}`},
		"docker foreign":  {typeImage, `{"schemaVersion":2,"config":` + config + `,"layers":[` + desc("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "elsewhere") + `]}`},
		"oci foreign":     {typeImage, `{"schemaVersion":2,"config":` + config + `,"layers":[` + desc("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "elsewhere") + `]}`},
		"layer with urls": {typeImage, `{"schemaVersion":2,"config":` + config + `,"layers":[{"mediaType":"` + typeLayer + `","digest":"` + sha("elsewhere") + `","size":9,"urls":["https://example.com/x"]}]}`},
		"buildkit cache":  {typeIndex, `{"schemaVersion":2,"manifests":[` + desc(typeLayer, "one") + `,` + desc("application/vnd.buildkit.cacheconfig.v0", "{}") + `]}`},
		"embedded data":   {typeImage, `{"schemaVersion":2,"config":{"mediaType":"application/x.y","digest":"` + sha("{}") + `","size":2,"data":"` + base64.StdEncoding.EncodeToString([]byte("{}")) + `"},"layers":[]}`},
		"unknown fields":  {typeImage, image(`,"x":{"Layers":[1],"a":{"a":1}},"annotations":{"Digest":"1","digest":"2"}`, "{}", "one")},
		"twice the layer": {typeImage, image("", "{}", "one", "one")},
	}
	for name, tt := range tests {
		f.run(
			step{do: "PUT /v2/a/manifests/kind", header: []string{"Content-Type: " + tt.mediaType}, body: tt.body, status: 201},
			step{do: "GET /v2/a/manifests/kind", status: 200, text: tt.body, want: map[string]string{"Content-Type": tt.mediaType}},
		)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	f.run(step{do: "PUT /v2/a/manifests/kind", header: []string{"Content-Type: " + typeIndex},
		body: `{"schemaVersion":2,"manifests":[` + desc(typeLayer, "not there") + `]}`, status: 404, code: CodeManifestBlobUnknown})
}

// invalidManifests are refused, with a word that their sentence has.
var invalidManifests = map[string]struct{ mediaType, body, says string }{
	"no JSON":            {typeImage, `hello`, "invalid character"},
	"no object":          {typeImage, `[]`, "no JSON object"},
	"cut off":            {typeImage, `{"schemaVersion":2`, "ends early"},
	"two documents":      {typeImage, image("", "{}") + `{}`, "follows"},
	"no UTF-8":           {typeImage, "{\"a\":\"\xff\"}", "UTF-8"},
	"twice a field":      {typeImage, image(`,"layers":[]`, "{}"), "twice"},
	"other case":         {typeImage, image(`,"Layers":[]`, "{}"), "written"},
	"other case inside":  {typeImage, strings.Replace(image("", "{}"), `"size"`, `"Size"`, 1), "written"},
	"folded letter":      {typeImage, image(`,"layerſ":[]`, "{}"), "written"},
	"deep":               {typeImage, image(`,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100), "{}"), "deeper"},
	"deep objects":       {typeImage, image(`,"x":`+strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100), "{}"), "deeper"},
	"schema 1":           {mediaTypeSchema1, `{"schemaVersion":1}`, "schema 1"},
	"schemaVersion":      {typeImage, strings.Replace(image("", "{}"), ":2", ":1", 1), "schemaVersion"},
	"no schemaVersion":   {typeIndex, `{"manifests":[]}`, "schemaVersion"},
	"string version":     {typeIndex, `{"schemaVersion":"2","manifests":[]}`, "schemaVersion"},
	"no config":          {typeImage, `{"schemaVersion":2,"layers":[]}`, "config"},
	"image with index":   {typeImage, image(`,"manifests":[]`, "{}"), "index"},
	"image with fs":      {typeImage, image(`,"fsLayers":[]`, "{}"), "fsLayers"},
	"index with layers":  {typeIndex, index(`,"layers":[]`), "image"},
	"index with config":  {typeIndex, index(`,"config":{}`), "image"},
	"artifact layers":    {mediaTypeArtifact, `{"layers":[]}`, "layers"},
	"negative size":      {typeImage, strings.Replace(image("", "{}"), `"size":2`, `"size":-2`, 1), "size"},
	"absurd size":        {typeImage, strings.Replace(image("", "{}"), `"size":2`, `"size":9000000000000000000`, 1), "size"},
	"huge size":          {typeImage, strings.Replace(image("", "{}"), `"size":2`, `"size":99999999999999999999`, 1), "size"},
	"bad digest":         {typeImage, strings.Replace(image("", "{}"), "sha256:", "sha256:x", 1), "digest"},
	"upper digest":       {typeImage, strings.Replace(image("", "{}"), sha("{}"), "sha256:"+strings.Repeat("A", 64), 1), "digest"},
	"md5":                {typeImage, strings.Replace(image("", "{}"), sha("{}"), "md5:"+strings.Repeat("a", 32), 1), "digest"},
	"bad layer type":     {typeIndex, `{"schemaVersion":2,"manifests":[` + desc("x y/z", "") + `]}`, "media type"},
	"no layer type":      {typeIndex, `{"schemaVersion":2,"manifests":[` + desc("", "") + `]}`, "media type"},
	"bad artifactType":   {typeImage, image(`,"artifactType":"x"`, "{}"), "artifactType"},
	"wrong data":         {typeImage, strings.Replace(image("", "{}"), `"size":2`, `"size":2,"data":"e30K"`, 1), "data"},
	"data no base64":     {typeImage, strings.Replace(image("", "{}"), `"size":2`, `"size":2,"data":"%%%"`, 1), "base64"},
	"bad subject":        {typeImage, image(`,"subject":{"mediaType":"a/b","digest":"x","size":1}`, "{}"), "subject"},
	"many annotations":   {typeImage, image(`,"annotations":{"a":"`+strings.Repeat("x", maxAnnotations)+`"},"subject":`+desc(typeImage, "s"), "{}"), "annotations"},
	"too many":           {typeIndex, index("", slices.Repeat([]string{"x"}, 30)...), "20"},
	"mediaType mismatch": {typeIndex, image("", "{}"), "agree"},
}

func TestManifestInvalid(t *testing.T) {
	f := newFixture(t, func(c *Config, _ *meta.Options) { c.Limits.References = 20 })
	f.pushBlob("a", "{}")
	for name, tt := range invalidManifests {
		a := f.do("PUT", "/v2/a/manifests/bad", strings.NewReader(tt.body), "Content-Type: "+tt.mediaType)
		if a.StatusCode != 400 || !slices.Equal(a.codes(), []Code{CodeManifestInvalid}) || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s: %d %s; want 400 and %q", name, a.StatusCode, a.body, tt.says)
		}
	}
	f.run(step{do: "GET /v2/a/manifests/bad", status: 404})
}

func TestManifestLimits(t *testing.T) {
	const typeOdd = "Content-Type: application/vnd.example.odd"
	f := newFixture(t, func(c *Config, _ *meta.Options) { c.Limits.ManifestBytes = 1000 })
	f.run(
		step{do: "PUT /v2/a/manifests/v1", header: []string{typeOdd}, body: strings.Repeat("x", 1000), status: 201},
		step{do: "PUT /v2/a/manifests/v2", header: []string{typeOdd}, body: strings.Repeat("x", 1001), status: 413, code: CodeSizeInvalid},
	)
	// Without a Content-Length.
	a := f.do("PUT", "/v2/a/manifests/v2", struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", 1001))}, typeOdd)
	if a.StatusCode != 413 {
		t.Errorf("status %d, want 413", a.StatusCode)
	}

	// More than a row holds, up to the limit, inline or not.
	f = newFixture(t)
	for _, n := range []int{meta.InlineManifest, meta.InlineManifest + 1, 4 << 20} {
		body := strings.Repeat("x", n)
		f.run(
			step{do: "PUT /v2/a/manifests/large", header: []string{typeOdd}, body: body, status: 201},
			step{do: "PUT /v2/a/manifests/large", header: []string{typeOdd}, body: body, status: 201},
			step{do: "GET /v2/a/manifests/large", status: 200, text: body},
			step{do: "HEAD /v2/a/manifests/large", status: 200, want: map[string]string{"Content-Length": itoa(n)}},
			step{do: "GET /v2/a/manifests/" + sha(body), status: 200, text: body, want: map[string]string{"Docker-Content-Digest": sha(body)}},
			step{do: "GET /v2/a/manifests/large", header: []string{"Range: bytes=-3"}, status: 206, text: "xxx"},
			step{do: "DELETE /v2/a/manifests/" + sha(body), status: 202},
			step{do: "GET /v2/a/manifests/large", status: 404},
		)
	}
}

func TestImmutableTags(t *testing.T) {
	f := newFixture(t, func(_ *Config, o *meta.Options) { o.ImmutableTags = true })
	m := f.pushImage("a", "v1", "", "{}", "one")
	other := image(`,"annotations":{"a":"b"}`, "{}", "one")
	asImage := []string{"Content-Type: " + typeImage}
	f.run(
		step{do: "PUT /v2/a/manifests/v1", header: asImage, body: m, status: 201},
		step{do: "PUT /v2/a/manifests/v1", header: asImage, body: other, status: 409, code: CodeTagInvalid},
		step{do: "GET /v2/a/manifests/v1", status: 200, text: m},
		step{do: "DELETE /v2/a/manifests/v1", status: 202},
		step{do: "PUT /v2/a/manifests/v1", header: asImage, body: other, status: 201},
	)
}

func TestSubjectAndReferrers(t *testing.T) {
	f := newFixture(t)
	subject := sha("nobody pushed this")
	f.pushBlob("a", "{}")
	withSubject := func(more string) string {
		return image(`,"subject":`+desc(typeImage, "nobody pushed this")+more, "{}")
	}
	sbom := withSubject(`,"artifactType":"application/vnd.example.sbom","annotations":{"k":"v"}`)
	plain := withSubject("")
	list := index(`,"subject":` + desc(typeImage, "nobody pushed this"))
	empty := `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[]}`
	f.run(
		step{do: "GET /v2/nowhere/referrers/" + subject, status: 200, text: empty, want: map[string]string{"Content-Type": typeIndex, "Link": ""}},
		step{do: "GET /v2/a/referrers/" + subject, status: 200, text: empty},
		step{do: "PUT /v2/a/manifests/" + sha(sbom), header: []string{"Content-Type: " + typeImage}, body: sbom, status: 201, want: map[string]string{"OCI-Subject": subject}},
		step{do: "PUT /v2/a/manifests/" + sha(plain), header: []string{"Content-Type: " + typeImage}, body: plain, status: 201, want: map[string]string{"OCI-Subject": subject}},
		step{do: "PUT /v2/a/manifests/" + sha(list), header: []string{"Content-Type: " + typeIndex}, body: list, status: 201, want: map[string]string{"OCI-Subject": subject}},
	)
	a := f.run(step{do: "GET /v2/a/referrers/" + subject, status: 200, want: map[string]string{"OCI-Filters-Applied": "", "Link": ""}})
	entries := []string{
		`{"mediaType":"` + typeImage + `","digest":"` + sha(sbom) + `","size":` + itoa(len(sbom)) + `,"annotations":{"k":"v"},"artifactType":"application/vnd.example.sbom"}`,
		`{"mediaType":"` + typeImage + `","digest":"` + sha(plain) + `","size":` + itoa(len(plain)) + `,"artifactType":"application/vnd.oci.image.config.v1+json"}`,
		`{"mediaType":"` + typeIndex + `","digest":"` + sha(list) + `","size":` + itoa(len(list)) + `}`,
	}
	for _, e := range entries {
		if !strings.Contains(a.body, e) {
			t.Errorf("the list lacks %s: %s", e, a.body)
		}
	}
	a = f.run(step{do: "GET /v2/a/referrers/" + subject + "?artifactType=application/vnd.example.sbom", status: 200, want: map[string]string{"OCI-Filters-Applied": "artifactType"}})
	if !strings.Contains(a.body, sha(sbom)) || strings.Contains(a.body, sha(plain)) {
		t.Errorf("filtered: %s", a.body)
	}
	f.run(
		step{do: "GET /v2/a/referrers/" + subject + "?artifactType=x/y", status: 200, text: empty},
		step{do: "GET /v2/a/referrers/" + subject + "?n=x", status: 400, code: CodePaginationInvalid},
		step{do: "GET /v2/a/referrers/" + subject + "?last=x", status: 400, code: CodePaginationInvalid},
		step{do: "DELETE /v2/a/manifests/" + sha(sbom), status: 202},
	)
	a = f.run(step{do: "GET /v2/a/referrers/" + subject, status: 200})
	if strings.Contains(a.body, sha(sbom)) {
		t.Errorf("a deleted referrer is listed: %s", a.body)
	}
}

func TestManifestBodyThatEndsEarly(t *testing.T) {
	f := newFixture(t)
	r := httptest.NewRequest("PUT", "/v2/a/manifests/v1", failingReader{}).WithContext(context.Background())
	r.Header.Set("Content-Type", "application/vnd.example.odd")
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), string(CodeSizeInvalid)) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
