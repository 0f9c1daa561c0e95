package control_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/control"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/meta/table/bolt"
	"github.com/slipway-oci/slipway/internal/registry"
)

func newModel(t *testing.T) *meta.Model {
	t.Helper()
	table, err := bolt.Open(filepath.Join(t.TempDir(), "meta.db"), bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	return meta.New(table, meta.Options{})
}

func do(h http.Handler, method, name, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, control.Prefix+name, strings.NewReader(body)))
	return w
}

func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct{ Errors []registry.Entry }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Errors) == 0 || body.Errors[0].Message == "" {
		t.Fatalf("%d %s is no OCI error: %v", w.Code, w.Body, err)
	}
	return string(body.Errors[0].Code)
}

func TestSettings(t *testing.T) {
	h := control.New(newModel(t), nil, slog.New(slog.DiscardHandler), time.Minute)
	if w := do(h, http.MethodGet, "team/app", ""); w.Code != http.StatusNotFound || code(t, w) != "NAME_UNKNOWN" {
		t.Errorf("GET of nothing: %d %s", w.Code, w.Body)
	}
	w := do(h, http.MethodPut, "team/app", `{"immutableTags": true}`)
	if w.Code != http.StatusOK {
		t.Fatalf("PUT: %d %s", w.Code, w.Body)
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["name"] != "team/app" || got["immutableTags"] != true || got["created"] == nil || len(got) != 3 {
		t.Errorf("PUT answered %v", got)
	}
	// What a GET answers may come back, edited.
	doc := do(h, http.MethodGet, "team/app", "").Body.String()
	edited := strings.Replace(doc, "true", "false", 1)
	if w := do(h, http.MethodPut, "team/app", edited); w.Code != http.StatusOK || w.Body.String() != edited {
		t.Errorf("PUT of %s: %d %s", edited, w.Code, w.Body)
	}
}

func TestRefused(t *testing.T) {
	h := control.New(newModel(t), nil, slog.New(slog.DiscardHandler), time.Minute)
	for name, c := range map[string]struct {
		method, name, body string
		status             int
		code               string
	}{
		"upper case":      {http.MethodGet, "Team", "", 400, "NAME_INVALID"},
		"no name":         {http.MethodGet, "", "", 400, "NAME_INVALID"},
		"path trick":      {http.MethodGet, "a/../b", "", 400, "NAME_INVALID"},
		"encoded slash":   {http.MethodGet, "a%2fb", "", 400, "NAME_INVALID"},
		"like a route":    {http.MethodGet, "a/manifests/b?x=/..", "", 404, "NAME_UNKNOWN"},
		"method":          {http.MethodDelete, "a", "", 405, "UNSUPPORTED"},
		"no document":     {http.MethodPut, "a", "", 400, "UNSUPPORTED"},
		"no setting":      {http.MethodPut, "a", "{}", 400, "UNSUPPORTED"},
		"unknown setting": {http.MethodPut, "a", `{"immutable": true}`, 400, "UNSUPPORTED"},
		"other name":      {http.MethodPut, "a", `{"name":"b","immutableTags":true}`, 400, "NAME_INVALID"},
		"too large":       {http.MethodPut, "a", strings.Repeat(" ", 70_000), 400, "SIZE_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			w := do(h, c.method, c.name, c.body)
			if w.Code != c.status || code(t, w) != c.code {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.code)
			}
		})
	}
}

type authorizer func(registry.Access) error

func (a authorizer) Authorize(_ *http.Request, access registry.Access) error { return a(access) }

func TestAuthorizerIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		answer error
		status int
		code   string
	}{
		"who":    {&registry.Challenge{Header: `Basic realm="x"`}, 401, "UNAUTHORIZED"},
		"no":     {fmt.Errorf("not yours: %w", registry.ErrDenied), 403, "DENIED"},
		"full":   {fmt.Errorf("write away: %w", syscall.ENOSPC), 503, "UNKNOWN"},
		"broken": {errors.New("database of users is away"), 503, "UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked registry.Access
			auth := authorizer(func(a registry.Access) error { asked = a; return c.answer })
			model := newModel(t)
			h := control.New(model, auth, slog.New(slog.DiscardHandler), time.Minute)
			w := do(h, http.MethodPut, "team/app", `{"immutableTags": true}`)
			if w.Code != c.status || code(t, w) != c.code {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.code)
			}
			if c.status == 401 && w.Header().Get("WWW-Authenticate") != `Basic realm="x"` {
				t.Errorf("no challenge: %v", w.Header())
			}
			if strings.Contains(w.Body.String(), "no space") != errors.Is(c.answer, syscall.ENOSPC) {
				t.Errorf("the answer does not tell a full disk from others: %s", w.Body)
			}
			if strings.Contains(w.Body.String(), "away") {
				t.Errorf("the answer tells what is inside: %s", w.Body)
			}
			if asked != (registry.Access{Action: control.ActionAdmin, Repository: "team/app"}) {
				t.Errorf("asked about %+v", asked)
			}
			if _, err := model.Repository(t.Context(), "team/app"); !errors.Is(err, meta.ErrRepositoryUnknown) {
				t.Errorf("the refused PUT did something: %v", err)
			}
		})
	}
}

// A document that is announced and does not come ends the request in time.
func TestDocumentThatNeverComes(t *testing.T) {
	srv := httptest.NewUnstartedServer(control.New(newModel(t), nil, slog.New(slog.DiscardHandler), 200*time.Millisecond))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for _, http2 := range []bool{false, true} {
		transport := srv.Client().Transport.(*http.Transport).Clone()
		transport.ForceAttemptHTTP2 = http2
		if !http2 {
			transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		body, never := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL+control.Prefix+"a", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 10
		resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
		if err != nil {
			t.Fatalf("HTTP/2 %v: %v", http2, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout || (resp.ProtoMajor == 2) != http2 {
			t.Errorf("%s %s, want 408", resp.Proto, resp.Status)
		}
		_ = never.Close()
		transport.CloseIdleConnections()
	}
}
