package registry

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// plainRange is a Range of one range of bytes, in numbers that every reader has.
var plainRange = regexp.MustCompile(`^bytes=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))$`)

// wantRange is RFC 9110, section 14, for one range: the status of the answer and
// which bytes of so many it has.
func wantRange(m []string, size int64) (status int, start, end int64) {
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	switch {
	case m[3] != "": // the last so many
		if number(m[3]) == 0 {
			return http.StatusOK, 0, size // none: ignored, which is always allowed
		}
		return http.StatusPartialContent, size - min(size, number(m[3])), size
	case m[2] != "" && number(m[2]) < number(m[1]), number(m[1]) >= size:
		return http.StatusRequestedRangeNotSatisfiable, 0, 0
	case m[2] == "":
		return http.StatusPartialContent, number(m[1]), size
	default:
		return http.StatusPartialContent, number(m[1]), min(size, number(m[2])+1)
	}
}

// FuzzRange asks for ranges of a blob and of a manifest.
func FuzzRange(f *testing.F) {
	for _, s := range []string{
		"", "bytes=0-4", "bytes=3-", "bytes=-3", "bytes=-0", "bytes=-00", "bytes=5-3", "bytes=0-999", "bytes=999-", "bytes=-999", "bytes=",
		"bytes=-", "bytes=x", "Bytes=0-4", "lines=0-4", "bytes =0-4", "bytes= 0-4", "bytes=0-4,6-7", "bytes=0-4, -0", "bytes=-0,1-1", "bytes=,0-1",
		"bytes=0-,0-,0-,0-", "bytes=0-99999999999999999999", "bytes=18446744073709551616-", "bytes=+1-+2", "bytes=0x1-2", "bytes=1--2", "\x00",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			f.Add(method == "HEAD", s)
		}
	}
	fix := newFixture(f)
	const content = "hello, this is a blob\n"
	fix.pushBlob("a", content)
	fix.run(step{do: "PUT /v2/a/manifests/v1", header: []string{"Content-Type: application/vnd.example.odd"}, body: content, status: 201})
	f.Fuzz(func(t *testing.T, head bool, value string) {
		for _, path := range []string{"/v2/a/blobs/" + sha(content), "/v2/a/manifests/v1"} {
			r := httptest.NewRequest("GET", path, nil)
			if head {
				r.Method = "HEAD"
			}
			r.Header.Set("Range", value)
			w := httptest.NewRecorder()
			fix.handler.ServeHTTP(w, r)
			if r.Header.Get("Range") != value {
				t.Error("the request was changed")
			}
			if head {
				if w.Code != 200 || w.Header().Get("Content-Length") != itoa(len(content)) || w.Header().Get("Content-Range") != "" {
					t.Errorf("HEAD %s, %q: %d %v", path, value, w.Code, w.Header())
				}
				continue
			}
			checkRange(t, fmt.Sprintf("GET %s, %q", path, value), value, content, w.Result())
		}
	})
}

// checkRange holds an answer against what was asked for.
func checkRange(t *testing.T, what, value, content string, a *http.Response) {
	t.Helper()
	body, _ := io.ReadAll(a.Body)
	switch a.StatusCode {
	case http.StatusOK:
		if string(body) != content || a.ContentLength != int64(len(content)) {
			t.Errorf("%s: 200 with %q", what, body)
		}
	case http.StatusPartialContent:
		checkParts(t, what, content, a, body)
	case http.StatusRequestedRangeNotSatisfiable:
		if len((answer{a, string(body)}).codes()) == 0 {
			t.Errorf("%s: no error in %q", what, body)
		}
	default:
		t.Errorf("%s: %d %s", what, a.StatusCode, body)
	}
	if m := plainRange.FindStringSubmatch(value); m != nil {
		status, start, end := wantRange(m, int64(len(content)))
		if a.StatusCode != status || status != http.StatusRequestedRangeNotSatisfiable && string(body) != content[start:end] {
			t.Errorf("%s: %d %q, want %d %q", what, a.StatusCode, body, status, content[start:end])
		}
	} else if !strings.HasPrefix(value, "bytes=") && a.StatusCode != http.StatusOK {
		t.Errorf("%s: %d, but these are no bytes", what, a.StatusCode)
	}
}

// checkParts: each part says which bytes it has, and has them.
func checkParts(t *testing.T, what, content string, a *http.Response, body []byte) {
	t.Helper()
	part := func(contentRange, got string) {
		t.Helper()
		var start, end, size int
		if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &start, &end, &size); err != nil || start > end || end >= len(content) || size != len(content) {
			t.Errorf("%s: Content-Range %q", what, contentRange)
		} else if got != content[start:end+1] {
			t.Errorf("%s: Content-Range %q with %q", what, contentRange, got)
		}
	}
	kind, params, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if kind != "multipart/byteranges" {
		part(a.Header.Get("Content-Range"), string(body))
		return
	}
	r := multipart.NewReader(strings.NewReader(string(body)), params["boundary"])
	for n := 0; ; n++ {
		p, err := r.NextPart()
		if err == io.EOF && n > 0 {
			return
		}
		if err != nil {
			t.Errorf("%s: part %d: %v", what, n, err)
			return
		}
		got, _ := io.ReadAll(p)
		part(p.Header.Get("Content-Range"), string(got))
	}
}
