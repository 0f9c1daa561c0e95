package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Nothing that a client sends is to end in a 5xx or a panic: each target feeds
// one reader of foreign bytes, and checks what must hold of what it accepts.

// clientError fails unless the error is one that blames the client.
func clientError(t *testing.T, err error) {
	t.Helper()
	if e := toError(err); e.Status < 400 || e.Status >= 500 || e.cause != nil {
		t.Errorf("answers %d: %v", e.Status, err)
	}
}

func FuzzRoute(f *testing.F) {
	for _, p := range paths {
		f.Add(p)
	}
	for _, p := range []string{"", "/", "/v2", "/v2//", "/v2/a/../b/tags/list", "/v2/a%2fb/tags/list", "/v2/%2e/tags/list", "/v2/a/blobs/sha256%3Aabc", "/v2/a%00/tags/list", "/v2/a/manifests/%zz", "/v2/-/uploads/../x", "/v2/blobs/uploads/blobs/uploads/"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		// As it comes from the request line, and as a URL parsed by others.
		for _, escaped := range []string{path, (&url.URL{Path: path}).EscapedPath()} {
			got, err := parsePath(escaped)
			if err != nil {
				clientError(t, err)
				continue
			}
			if resourceNames[got.resource] == "" {
				t.Errorf("%q has no resource", escaped)
			}
			if got.name != "" && !validName(got.name) || strings.ContainsAny(got.ref, "/\\\x00%") || got.ref == ".." {
				t.Errorf("%q: %+v", escaped, got)
			}
			if got.name == "" && got.resource != resourcePing && got.resource != resourceCatalog && got.resource != resourceSignedUpload {
				t.Errorf("%q names no repository", escaped)
			}
			if rt, err := got.route(http.MethodPut); err == nil && rt.access == ActionNone {
				t.Errorf("%q can be written without access", escaped)
			}
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"", "0-0", "0-99", "5-3", "-1", "1-", "bytes 0-4/10", "bytes=0-4", "0-18446744073709551616", "999999999999999999-999999999999999999", "0x1-2", " 0-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cr, err := parseContentRange(s)
		if err != nil {
			clientError(t, err)
			return
		}
		if cr.start < 0 || cr.end < cr.start || cr.length() < 1 {
			t.Errorf("%q: %+v", s, cr)
		}
	})
}

func FuzzManifest(f *testing.F) {
	for _, m := range invalidManifests {
		f.Add(m.mediaType, []byte(m.body))
	}
	f.Add(typeImage, []byte(image(`,"subject":`+desc(typeImage, "s")+`,"annotations":{"a":"b"}`, "{}", "one", "two")))
	f.Add(typeIndex, []byte(index(`,"artifactType":"a/b"`, "one", "two")))
	f.Add(mediaTypeArtifact, []byte(`{"blobs":[`+desc("a/b", "x")+`]}`))
	f.Add("", []byte(image("", "{}")))
	f.Add("application/x.y", []byte("anything"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		m, err := decodeManifest(contentType, body, 100)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Status != 400 || e.Entries[0].Code != CodeManifestInvalid {
				t.Errorf("error %v", err)
			}
			if _, err := json.Marshal(e.Entries); err != nil {
				t.Error(err)
			}
			return
		}
		if !mediaTypeGrammar.MatchString(m.mediaType) {
			t.Errorf("media type %q", m.mediaType)
		}
		if m.references() > 100 {
			t.Errorf("%d references", m.references())
		}
		for _, list := range [][]string{toStrings(m.blobs), toStrings(m.manifests), toStrings(m.either), toStrings(m.foreign)} {
			for _, d := range list {
				if _, err := parseDigest(d); err != nil {
					t.Errorf("reference %q", d)
				}
			}
		}
		if m.subject != "" {
			if _, err := parseDigest(m.subject.String()); err != nil {
				t.Errorf("subject %q", m.subject)
			}
		}
		if kinds[m.mediaType] != kindUnknown && !json.Valid(body) {
			t.Error("accepts invalid JSON")
		}
	})
}

func toStrings[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

func FuzzUploadState(f *testing.F) {
	now := time.Unix(1_760_000_000, 0)
	s, err := newSigner([][]byte{testKey})
	if err != nil {
		f.Fatal(err)
	}
	good := s.location("abc", "team/app", now.Add(time.Hour))
	_, query, _ := strings.Cut(good, "?")
	f.Add("abc", query)
	f.Add("abc", query+"&digest="+anyDigest)
	f.Add("abc", query+"&repo=b")
	f.Add("abd", query)
	f.Add("abc", strings.Replace(query, "team", "tean", 1))
	f.Add("", "")
	f.Add("abc", "repo=&exp=&kid=&sig=")
	f.Add("abc", "repo=a&exp=9999999999&kid="+s.keys[0].id+"&sig=AAAA")
	f.Fuzz(func(t *testing.T, id, query string) {
		q, _ := url.ParseQuery(query) // what a server does: the good pairs count
		repo, err := s.verify(id, q, now)
		if err != nil {
			clientError(t, err)
			return
		}
		// The key signed one thing only.
		if id != "abc" || repo != "team/app" {
			t.Errorf("forged: %q %q %q", id, repo, query)
		}
	})
}
