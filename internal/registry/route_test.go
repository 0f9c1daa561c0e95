package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const anyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// paths is one address of each resource.
var paths = map[resource]string{
	resourcePing:         "/v2/",
	resourceCatalog:      "/v2/_catalog",
	resourceTags:         "/v2/team/app/tags/list",
	resourceReferrers:    "/v2/team/app/referrers/" + anyDigest,
	resourceManifest:     "/v2/team/app/manifests/latest",
	resourceBlob:         "/v2/team/app/blobs/" + anyDigest,
	resourceUploads:      "/v2/team/app/blobs/uploads/",
	resourceUpload:       "/v2/team/app/blobs/uploads/abc",
	resourceSignedUpload: "/v2/-/uploads/abc",
}

func TestParsePath(t *testing.T) {
	long := strings.Repeat("a", 255)
	tests := []struct {
		path string
		want target
		code Code // of the error, if there is one
	}{
		{path: "/v2", want: target{resource: resourcePing}},
		{path: "/v2/", want: target{resource: resourcePing}},
		{path: "/v2/_catalog", want: target{resource: resourceCatalog}},
		{path: "/v2/a/tags/list", want: target{resourceTags, "a", ""}},
		{path: "/v2/a/b/c/manifests/v1", want: target{resourceManifest, "a/b/c", "v1"}},
		{path: "/v2/a/blobs/" + anyDigest, want: target{resourceBlob, "a", anyDigest}},
		{path: "/v2/a/blobs/" + strings.Replace(anyDigest, ":", "%3A", 1), want: target{resourceBlob, "a", anyDigest}},
		{path: "/v2/a/blobs/" + strings.Replace(anyDigest, ":", "%3a", 1), want: target{resourceBlob, "a", anyDigest}},
		{path: "/v2/a/referrers/" + anyDigest, want: target{resourceReferrers, "a", anyDigest}},
		{path: "/v2/a/blobs/uploads", want: target{resourceUploads, "a", ""}},
		{path: "/v2/a/blobs/uploads/", want: target{resourceUploads, "a", ""}},
		{path: "/v2/a/blobs/uploads/xyz", want: target{resourceUpload, "a", "xyz"}},
		{path: "/v2/-/uploads/xyz", want: target{resource: resourceSignedUpload, ref: "xyz"}},
		// Names that look like the API.
		{path: "/v2/blobs/manifests/tags/list", want: target{resourceTags, "blobs/manifests", ""}},
		{path: "/v2/manifests/manifests/manifests", want: target{resourceManifest, "manifests", "manifests"}},
		{path: "/v2/blobs/uploads/blobs/uploads/", want: target{resourceUploads, "blobs/uploads", ""}},
		{path: "/v2/blobs/uploads/blobs/uploads/x", want: target{resourceUpload, "blobs/uploads", "x"}},
		{path: "/v2/blobs/uploads/blobs/" + anyDigest, want: target{resourceBlob, "blobs/uploads", anyDigest}},
		{path: "/v2/tags/list/tags/list", want: target{resourceTags, "tags/list", ""}},
		{path: "/v2/referrers/blobs/blobs/uploads/", want: target{resourceUploads, "referrers/blobs", ""}},
		{path: "/v2/a/blobs/manifests/uploads", want: target{resourceManifest, "a/blobs", "uploads"}},
		{path: "/v2/" + long + "/tags/list", want: target{resourceTags, long, ""}},

		{path: "/v2/" + long + "a/tags/list", code: CodeNameInvalid},
		{path: "/", code: CodeUnsupported},
		{path: "/v1/", code: CodeUnsupported},
		{path: "/v2a", code: CodeUnsupported},
		{path: "/v2/a", code: CodeUnsupported},
		{path: "/v2/tags/list", code: CodeUnsupported},
		{path: "/v2/a/tags/lists", code: CodeUnsupported},
		{path: "/v2/-/token", code: CodeUnsupported},
		{path: "/v2/-/uploads/x/y", code: CodeUnsupported},
		{path: "/v2/-/tags/list", code: CodeUnsupported},
		{path: "/v2/A/tags/list", code: CodeNameInvalid},
		{path: "/v2/a-/tags/list", code: CodeNameInvalid},
		{path: "/v2/a___b/tags/list", code: CodeNameInvalid},
		{path: "/v2/a..b/tags/list", code: CodeNameInvalid},
		{path: "/v2/_x/tags/list", code: CodeNameInvalid},
		{path: "/v2//", code: CodeNameInvalid},
		{path: "/v2//a/tags/list", code: CodeNameInvalid},
		{path: "/v2/a//tags/list", code: CodeNameInvalid},
		{path: "/v2/a/tags/list/", code: CodeNameInvalid},
		{path: "/v2/a/manifests/", code: CodeNameInvalid},
		{path: "/v2/blobs/uploads/", code: CodeNameInvalid},
		{path: "/v2/a/../b/tags/list", code: CodeNameInvalid},
		{path: "/v2/./tags/list", code: CodeNameInvalid},
		{path: "/v2/a%2Fb/tags/list", code: CodeNameInvalid},
		{path: "/v2/a%2fb/tags/list", code: CodeNameInvalid},
		{path: "/v2/a/%2e%2e/tags/list", code: CodeNameInvalid},
		{path: "/v2/a%5Cb/tags/list", code: CodeNameInvalid},
		{path: `/v2/a\b/tags/list`, code: CodeNameInvalid},
		{path: "/v2/a%00/tags/list", code: CodeNameInvalid},
		{path: "/v2/a%252Fb/tags/list", code: CodeNameInvalid},
		{path: "/v2/a%zz/tags/list", code: CodeNameInvalid},
		{path: "/v2/a%ff/tags/list", code: CodeNameInvalid},
	}
	for _, tt := range tests {
		got, err := parsePath(tt.path)
		if tt.code == "" {
			if err != nil || got != tt.want {
				t.Errorf("parsePath(%q) = %+v, %v; want %+v", tt.path, got, err, tt.want)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Entries[0].Code != tt.code {
			t.Errorf("parsePath(%q) = %+v, %v; want %s", tt.path, got, err, tt.code)
		}
	}
}

// TestRoutesNameTheirAccess walks the table: every route asks for the access
// that its method means, and the Authorizer is really asked for it.
func TestRoutesNameTheirAccess(t *testing.T) {
	var asked []Access
	h := newFixture(t).handler
	h.auth = authorizerFunc(func(_ *http.Request, a Access) error {
		asked = append(asked, a)
		return ErrDenied
	})
	seen := map[resource]map[string]bool{}
	for _, rt := range routes {
		if seen[rt.resource] == nil {
			seen[rt.resource] = map[string]bool{}
		}
		if seen[rt.resource][rt.method] {
			t.Errorf("%s of %s is there twice", rt.method, resourceNames[rt.resource])
		}
		seen[rt.resource][rt.method] = true

		want := map[string]Action{
			http.MethodGet: ActionPull, http.MethodHead: ActionPull, http.MethodDelete: ActionDelete,
			http.MethodPut: ActionPush, http.MethodPost: ActionPush, http.MethodPatch: ActionPush,
		}[rt.method]
		switch rt.resource {
		case resourcePing:
			want = ActionNone
		case resourceCatalog:
			want = ActionCatalog
		case resourceUpload:
			want = ActionPush
		case resourceSignedUpload:
			want = actionSigned
		}
		if rt.access != want {
			t.Errorf("%s of %s asks for %q, want %q", rt.method, resourceNames[rt.resource], rt.access, want)
		}

		asked = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(rt.method, paths[rt.resource], nil))
		if w.Code != http.StatusForbidden {
			t.Errorf("%s %s: status %d, want 403", rt.method, paths[rt.resource], w.Code)
		}
		var wantAsked []Access
		if want != actionSigned {
			a := Access{Action: want}
			if strings.Contains(paths[rt.resource], "team/app") {
				a.Repository = "team/app"
			}
			wantAsked = []Access{a}
		}
		if !slices.Equal(asked, wantAsked) {
			t.Errorf("%s %s: asked for %v, want %v", rt.method, paths[rt.resource], asked, wantAsked)
		}
	}
	for res, path := range paths {
		if len(seen[res]) == 0 {
			t.Errorf("no route for %s", path)
		}
		if got := RouteName(httptest.NewRequest("GET", path, nil)); got != resourceNames[res] || got == "" {
			t.Errorf("RouteName(%s) = %q", path, got)
		}
	}
	if got := RouteName(httptest.NewRequest("GET", "/v2/nothing", nil)); got != "other" {
		t.Errorf("RouteName of no route = %q", got)
	}
}

func TestMethodNotAllowed(t *testing.T) {
	f := newFixture(t)
	f.run(
		step{do: "POST /v2/a/tags/list", status: 405, code: CodeUnsupported, want: map[string]string{"Allow": "GET, HEAD"}},
		step{do: "PUT /v2/a/blobs/" + anyDigest, status: 405, want: map[string]string{"Allow": "GET, HEAD, DELETE"}},
		step{do: "GET /v2/a/blobs/uploads/", status: 405, want: map[string]string{"Allow": "POST"}},
		step{do: "OPTIONS /v2/", status: 405},
		step{do: "GET /v2/", status: 200, text: "{}"},
		step{do: "GET /v2", status: 200},
		step{do: "HEAD /v2/", status: 200},
		step{do: "GET /v2/nothing", status: 404, code: CodeUnsupported},
		step{do: "GET /v2/a/manifests/.bad", status: 400, code: CodeTagInvalid},
		step{do: "GET /v2/a/manifests/sha256:abc", status: 400, code: CodeDigestInvalid},
		step{do: "GET /v2/a/blobs/latest", status: 400, code: CodeDigestInvalid},
		step{do: "DELETE /v2/a/blobs/sha384:" + strings.Repeat("a", 96), status: 400, code: CodeDigestInvalid},
		step{do: "GET /v2/a/blobs/sha256:" + strings.Repeat("A", 64), status: 400, code: CodeDigestInvalid},
		step{do: "GET /v2/a/referrers/latest", status: 400, code: CodeDigestInvalid},
	)
}

type authorizerFunc func(*http.Request, Access) error

func (f authorizerFunc) Authorize(r *http.Request, a Access) error { return f(r, a) }
