package server

import (
	"net/http"
	"strings"
	"testing"
)

// What docker does: ask /v2/, learn the scheme, log in, push with it; the upload
// itself goes to a signed Location without a credential.
func TestLogin(t *testing.T) {
	h := start(t, func(o *Options) { o.Htpasswd = htpasswdFile(t, "alice", "secret"); o.Listen = "0.0.0.0:0" })
	h.url = "http://127.0.0.1" + h.url[strings.LastIndex(h.url, ":"):]

	anonymous := h.do(http.MethodGet, "/v2/", nil)
	if anonymous.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(anonymous.Header.Get("WWW-Authenticate"), "Basic realm=") {
		t.Fatalf("ping without a credential: %d %v", anonymous.StatusCode, anonymous.Header)
	}
	if !strings.Contains(string(anonymous.body), `"UNAUTHORIZED"`) {
		t.Errorf("the body is no OCI error: %s", anonymous.body)
	}
	right, wrong := "Basic YWxpY2U6c2VjcmV0", "Basic YWxpY2U6d3Jvbmc="
	if a := h.do(http.MethodGet, "/v2/", nil, "Authorization", wrong); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("ping with a wrong password: %d", a.StatusCode)
	}
	if a := h.do(http.MethodGet, "/v2/", nil, "Authorization", right); a.StatusCode != http.StatusOK {
		t.Errorf("ping with the right password: %d %s", a.StatusCode, a.body)
	}

	digest := h.pushBlob("team/app", []byte("content"), "Authorization", right)
	if a := h.do(http.MethodGet, "/v2/team/app/blobs/"+digest, nil, "Authorization", right); string(a.body) != "content" {
		t.Errorf("pull: %d %s", a.StatusCode, a.body)
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/v2/team/app/blobs/" + digest, 401},
		{http.MethodGet, "/v2/team/app/manifests/v1", 401},
		{http.MethodGet, "/v2/team/app/tags/list", 401},
		{http.MethodGet, "/v2/_catalog", 401},
		{http.MethodPost, "/v2/team/app/blobs/uploads/", 401},
		{http.MethodDelete, "/v2/team/app/manifests/v1", 401},
		{http.MethodGet, "/v2/-/repositories/team/app", 401},
		{http.MethodPut, "/v2/-/repositories/team/app", 401},
		{http.MethodGet, "/metrics", 401},
		{http.MethodGet, "/healthz", 200},
	} {
		if a := h.do(c.method, c.path, nil); a.StatusCode != c.status {
			t.Errorf("%s %s without a credential: %d, want %d", c.method, c.path, a.StatusCode, c.status)
		}
	}
	if a := h.do(http.MethodGet, "/metrics", nil, "Authorization", right); a.StatusCode != 200 {
		t.Errorf("metrics with a credential: %d", a.StatusCode)
	}
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	log := h.log.String()
	if !strings.Contains(log, `"user":"alice"`) {
		t.Error("the access log does not tell the user")
	}
	for _, secret := range []string{"secret", "YWxpY2U6"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}
