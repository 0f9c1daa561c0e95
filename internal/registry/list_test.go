package registry

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestTagList(t *testing.T) {
	f := newFixture(t)
	m := f.pushImage("team/app", "b", "", "{}")
	for _, tag := range []string{"a", "C", "c", "d-1"} {
		f.run(step{do: "PUT /v2/team/app/manifests/" + tag, header: []string{"Content-Type: " + typeImage}, body: m, status: 201})
	}
	const path = "GET /v2/team/app/tags/list"
	list := func(tags string) string { return `{"name":"team/app","tags":[` + tags + `]}` }
	none := map[string]string{"Link": ""}
	next := func(last string) map[string]string {
		return map[string]string{"Link": `</v2/team/app/tags/list?last=` + last + `&n=2>; rel="next"`}
	}
	f.run(
		step{do: path, status: 200, text: list(`"C","a","b","c","d-1"`), want: none},
		step{do: path + "?n=2", status: 200, text: list(`"C","a"`), want: next("a")},
		step{do: path + "?n=2&last=a", status: 200, text: list(`"b","c"`), want: next("c")},
		step{do: path + "?n=2&last=c", status: 200, text: list(`"d-1"`), want: none},
		step{do: path + "?n=5", status: 200, text: list(`"C","a","b","c","d-1"`), want: none},
		step{do: path + "?last=bb", status: 200, text: list(`"c","d-1"`), want: none},
		step{do: path + "?last=zzz", status: 200, text: list(``), want: none},
		step{do: path + "?n=0", status: 200, text: list(``), want: none},
		step{do: path + "?n=99999999999999999999999", status: 200, want: none},
		step{do: path + "?n=-1", status: 400, code: CodePaginationInvalid},
		step{do: path + "?n=x", status: 400, code: CodePaginationInvalid},
		step{do: path + "?n=1.5", status: 400, code: CodePaginationInvalid},
		step{do: path + "?last=%00", status: 400, code: CodePaginationInvalid},
		step{do: path + "?last=a%2Fb", status: 400, code: CodePaginationInvalid},
		step{do: path + "?last=" + strings.Repeat("x", 2000), status: 400, code: CodePaginationInvalid},
		step{do: "HEAD /v2/team/app/tags/list", status: 200},
		step{do: "GET /v2/team/none/tags/list", status: 404, code: CodeNameUnknown},
		step{do: "GET /v2/team/none/tags/list?n=0", status: 404, code: CodeNameUnknown},
	)
	// Untagged, the repository is still there.
	f.run(step{do: "DELETE /v2/team/app/manifests/" + sha(m), status: 202}, step{do: path, status: 200, text: list(``), want: none})
}

func TestCatalog(t *testing.T) {
	f := newFixture(t)
	f.run(step{do: "GET /v2/_catalog", status: 200, text: `{"repositories":[]}`})
	for _, name := range []string{"b", "a/x", "c"} {
		f.pushImage(name, "v1", "", "{}")
	}
	f.run(
		step{do: "GET /v2/_catalog", status: 200, text: `{"repositories":["a/x","b","c"]}`, want: map[string]string{"Link": ""}},
		step{do: "GET /v2/_catalog?n=1", status: 200, text: `{"repositories":["a/x"]}`, want: map[string]string{"Link": `</v2/_catalog?last=a%2Fx&n=1>; rel="next"`}},
		step{do: "GET /v2/_catalog?last=a%2Fx&n=1", status: 200, text: `{"repositories":["b"]}`},
		step{do: "GET /v2/_catalog?last=b&n=1", status: 200, text: `{"repositories":["c"]}`, want: map[string]string{"Link": ""}},
		step{do: "GET /v2/_catalog?n=0", status: 200, text: `{"repositories":[]}`},
		step{do: "GET /v2/_catalog?last=A", status: 400, code: CodePaginationInvalid},
		step{do: "GET /v2/_catalog?n=-0", status: 400, code: CodePaginationInvalid},
	)
}

// TestReferrerPages follows the Links, with small pages, with a filter, and
// with descriptors so large that the bound in bytes ends the page.
func TestReferrerPages(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "{}")
	const count, big = 60, 60_000
	var odd []string
	for i := range count {
		artifactType := "application/x.even"
		if i%2 == 1 {
			artifactType = "application/x.odd"
		}
		m := image(fmt.Sprintf(`,"artifactType":%q,"subject":%s,"annotations":{"i":"%d","big":%q}`,
			artifactType, desc(typeImage, "subject"), i, strings.Repeat("x", big)), "{}")
		f.run(step{do: "PUT /v2/a/manifests/" + sha(m), header: []string{"Content-Type: " + typeImage}, body: m, status: 201})
		if i%2 == 1 {
			odd = append(odd, sha(m))
		}
	}
	slices.Sort(odd)
	for _, query := range []string{"", "?n=7", "?n=1", "?artifactType=application/x.odd", "?n=4&artifactType=application/x.odd"} {
		var got []string
		pages := 0
		for path := "/v2/a/referrers/" + sha("subject") + query; path != ""; pages++ {
			a := f.run(step{do: "GET " + path, status: 200})
			if len(a.body) > 4<<20 {
				t.Errorf("%s: a page of %d bytes", path, len(a.body))
			}
			for _, part := range strings.Split(a.body, `"digest":"`)[1:] {
				got = append(got, part[:strings.IndexByte(part, '"')])
			}
			path, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
		}
		want := count
		if strings.Contains(query, "odd") {
			want = len(odd)
			if !slices.Equal(got, odd) {
				t.Errorf("%s: not the filtered ones", query)
			}
		}
		if len(got) != want || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != want {
			t.Errorf("%s: %d referrers in %d pages, want %d in order", query, len(got), pages, want)
		}
		if query == "" && pages < 2 {
			t.Errorf("%d bytes came in one page", count*big)
		}
	}
}

func FuzzPage(f *testing.F) {
	for _, s := range []string{"", "n=1", "n=0&last=a", "n=-1", "n=99999999999999999999", "last=%00", "n=01&last=" + anyDigest, "n=1&n=2", "last=..%2F", "n=+1", "n=１"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		p, err := parsePage(q, validTag)
		if err != nil {
			return
		}
		if p.n < 0 || p.n > maxPage || p.last != "" && !validTag(p.last) {
			t.Errorf("%q: %+v", query, p)
		}
	})
}

func FuzzDigest(f *testing.F) {
	for _, s := range []string{"", ":", anyDigest, sha512("x"), "sha256:", "sha384:" + strings.Repeat("a", 96), strings.ToUpper(anyDigest), anyDigest + "0", "sha256:" + strings.Repeat("g", 64), "sha256+b64:x", anyDigest + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDigest(s)
		if err != nil {
			return
		}
		algorithm, hex, ok := strings.Cut(s, ":")
		want := map[string]int{"sha256": 64, "sha512": 128}[algorithm]
		if !ok || len(hex) != want || strings.Trim(hex, "0123456789abcdef") != "" || d != digest.Digest(s) {
			t.Errorf("%q is accepted", s)
		}
	})
}
