package registry

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// resource is what a path names, whatever the method.
type resource uint8

const (
	resourcePing         resource = iota + 1 // /v2/
	resourceCatalog                          // /v2/_catalog
	resourceTags                             // /v2/<name>/tags/list
	resourceReferrers                        // /v2/<name>/referrers/<digest>
	resourceManifest                         // /v2/<name>/manifests/<reference>
	resourceBlob                             // /v2/<name>/blobs/<digest>
	resourceUploads                          // /v2/<name>/blobs/uploads/
	resourceUpload                           // /v2/<name>/blobs/uploads/<id>
	resourceSignedUpload                     // /v2/-/uploads/<id>?<signed state>
)

// resourceNames are the names that metrics use. The set is bounded.
var resourceNames = map[resource]string{
	resourcePing:         "ping",
	resourceCatalog:      "catalog",
	resourceTags:         "tags",
	resourceReferrers:    "referrers",
	resourceManifest:     "manifest",
	resourceBlob:         "blob",
	resourceUploads:      "upload",
	resourceUpload:       "upload",
	resourceSignedUpload: "upload",
}

// route is one thing that the registry can be asked.
type route struct {
	method   string
	resource resource
	access   Action // what the Authorizer is asked; actionSigned: nobody is asked
	handle   func(*Handler, http.ResponseWriter, *http.Request, target) error
}

// routes is every route there is. The end-points of distribution-spec stand
// beside them.
var routes = []route{
	{http.MethodGet, resourcePing, ActionNone, (*Handler).ping}, // end-1
	{http.MethodHead, resourcePing, ActionNone, (*Handler).ping},

	{http.MethodGet, resourceBlob, ActionPull, (*Handler).getBlob}, // end-2
	{http.MethodHead, resourceBlob, ActionPull, (*Handler).getBlob},
	{http.MethodDelete, resourceBlob, ActionDelete, (*Handler).deleteBlob}, // end-10

	{http.MethodGet, resourceManifest, ActionPull, (*Handler).getManifest}, // end-3
	{http.MethodHead, resourceManifest, ActionPull, (*Handler).getManifest},
	{http.MethodPut, resourceManifest, ActionPush, (*Handler).putManifest},         // end-7
	{http.MethodDelete, resourceManifest, ActionDelete, (*Handler).deleteManifest}, // end-9

	{http.MethodPost, resourceUploads, ActionPush, (*Handler).startUpload}, // end-4, end-11

	{http.MethodPatch, resourceSignedUpload, actionSigned, (*Handler).patchUpload}, // end-5
	{http.MethodPut, resourceSignedUpload, actionSigned, (*Handler).putUpload},     // end-6
	{http.MethodGet, resourceSignedUpload, actionSigned, (*Handler).getUpload},     // end-13
	{http.MethodHead, resourceSignedUpload, actionSigned, (*Handler).getUpload},
	{http.MethodDelete, resourceSignedUpload, actionSigned, (*Handler).deleteUpload}, // end-14

	// The conventional addresses, for tools that build them by hand.
	{http.MethodPatch, resourceUpload, ActionPush, (*Handler).patchUpload},
	{http.MethodPut, resourceUpload, ActionPush, (*Handler).putUpload},
	{http.MethodGet, resourceUpload, ActionPush, (*Handler).getUpload},
	{http.MethodHead, resourceUpload, ActionPush, (*Handler).getUpload},
	{http.MethodDelete, resourceUpload, ActionPush, (*Handler).deleteUpload},

	{http.MethodGet, resourceTags, ActionPull, (*Handler).listTags}, // end-8
	{http.MethodHead, resourceTags, ActionPull, (*Handler).listTags},
	{http.MethodGet, resourceReferrers, ActionPull, (*Handler).listReferrers}, // end-12
	{http.MethodHead, resourceReferrers, ActionPull, (*Handler).listReferrers},
	{http.MethodGet, resourceCatalog, ActionCatalog, (*Handler).listCatalog},
	{http.MethodHead, resourceCatalog, ActionCatalog, (*Handler).listCatalog},
}

// target is what a path names.
type target struct {
	resource resource
	name     string // the repository; "" where the path names none
	ref      string // tag or digest, digest, upload id; as sent, not yet checked
}

// route finds what to do for the method, or the error that says which methods
// there are.
func (t target) route(method string) (*route, error) {
	allowed := make([]string, 0, 4)
	for i := range routes {
		if routes[i].resource != t.resource {
			continue
		}
		if routes[i].method == method {
			return &routes[i], nil
		}
		allowed = append(allowed, routes[i].method)
	}
	e := fail(http.StatusMethodNotAllowed, CodeUnsupported,
		"the method %.20q is not supported here; supported are %s", method, strings.Join(allowed, ", "))
	return nil, e.with("Allow", strings.Join(allowed, ", "))
}

// RouteName names the kind of resource that a request is about, from its path
// alone, for metrics and logs: "manifest", "blob", "upload", "tags",
// "referrers", "catalog", "ping", or "other" for what is no address of the API.
func RouteName(r *http.Request) string {
	t, err := parsePath(r.URL.EscapedPath())
	if err != nil {
		return "other"
	}
	return resourceNames[t.resource]
}

// parsePath reads an escaped path from the right, because the name of a
// repository may itself contain "blobs", "manifests", "tags" and "uploads".
//
// It refuses whatever two readers of the path (a proxy, a cache, an
// authorizer, this handler) could take for two different addresses: empty
// segments, dots, and encoded separators. The repository's name is checked;
// the reference is left to the handler, which knows what it must be.
func parsePath(escaped string) (target, error) {
	rest, ok := strings.CutPrefix(escaped, "/v2")
	if !ok || rest != "" && rest[0] != '/' {
		return target{}, errNoRoute()
	}
	if rest == "" || rest == "/" {
		return target{resource: resourcePing}, nil
	}
	segments := strings.Split(rest[1:], "/")
	for i, s := range segments {
		plain, err := plainSegment(s)
		if err != nil {
			return target{}, err
		}
		if plain == "" && !(i == len(segments)-1 && isUploads(segments[:i])) {
			return target{}, fail(http.StatusBadRequest, CodeNameInvalid,
				"the path has an empty segment: remove the doubled or trailing slash")
		}
		segments[i] = plain
	}
	return match(segments)
}

// isUploads reports whether the segments are <name>/blobs/uploads, whose
// trailing slash is part of the address (end-4).
func isUploads(segments []string) bool {
	n := len(segments)
	return n >= 3 && segments[n-2] == "blobs" && segments[n-1] == "uploads"
}

func match(segments []string) (target, error) {
	n := len(segments)
	at := func(fromEnd int) string {
		if fromEnd > n {
			return ""
		}
		return segments[n-fromEnd]
	}
	var t target
	var name []string
	switch {
	case segments[0] == "-":
		// "-" is no repository name; what is not the OCI API lives below it.
		if n == 3 && segments[1] == "uploads" {
			return target{resource: resourceSignedUpload, ref: segments[2]}, nil
		}
		return target{}, errNoRoute()
	case n == 1 && segments[0] == "_catalog":
		return target{resource: resourceCatalog}, nil
	case n >= 3 && at(2) == "manifests":
		t, name = target{resource: resourceManifest, ref: at(1)}, segments[:n-2]
	case n >= 3 && at(2) == "tags" && at(1) == "list":
		t, name = target{resource: resourceTags}, segments[:n-2]
	case n >= 3 && at(2) == "referrers":
		t, name = target{resource: resourceReferrers, ref: at(1)}, segments[:n-2]
	case n >= 3 && isUploads(segments):
		t, name = target{resource: resourceUploads}, segments[:n-2]
	case n >= 3 && at(2) == "blobs":
		t, name = target{resource: resourceBlob, ref: at(1)}, segments[:n-2]
	case n >= 4 && at(3) == "blobs" && at(2) == "uploads":
		t, name = target{resource: resourceUpload, ref: at(1)}, segments[:n-3]
		if t.ref == "" {
			t.resource = resourceUploads
		}
	default:
		return target{}, errNoRoute()
	}
	t.name = strings.Join(name, "/")
	if !validName(t.name) {
		return target{}, errName(t.name)
	}
	return t, nil
}

// plainSegment decodes one segment of a path. An encoded colon is fine (some
// clients encode the one in a digest); what could change the structure of the
// path or hide in it is not.
func plainSegment(s string) (string, error) {
	refused := func() (string, error) {
		return "", fail(http.StatusBadRequest, CodeNameInvalid,
			"the path segment %.80q is not allowed: no '.' or '..' and no encoded slash, backslash, dot, percent or NUL", s)
	}
	if s == "." || s == ".." || strings.ContainsAny(s, "\\\x00") {
		return refused()
	}
	if !strings.Contains(s, "%") {
		return s, nil
	}
	plain, err := url.PathUnescape(s)
	if err != nil {
		return refused()
	}
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && slices.Contains([]string{"2f", "5c", "2e", "25", "00"}, strings.ToLower(s[i+1:i+3])) {
			return refused()
		}
	}
	return plain, nil
}

func errNoRoute() *Error {
	return fail(http.StatusNotFound, CodeUnsupported,
		"no such address in the registry API: it is /v2/<name>/manifests/<reference>, /blobs/<digest>, /tags/list or /referrers/<digest>")
}
