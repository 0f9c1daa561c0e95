package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/metrics"
)

func TestRequestID(t *testing.T) {
	h := start(t, nil)
	given := h.do(http.MethodGet, "/v2/", nil, headerRequestID, "trace-1.A_b")
	if got := given.Header.Get(headerRequestID); got != "trace-1.A_b" {
		t.Errorf("a sane id came back as %q", got)
	}
	seen := map[string]bool{}
	for _, bad := range []string{"", "with space", `in"jected`, strings.Repeat("x", 65), "ümlaut"} {
		a := h.do(http.MethodGet, "/v2/", nil, headerRequestID, bad)
		got := a.Header.Get(headerRequestID)
		if !saneRequestID(got) || got == bad || seen[got] {
			t.Errorf("the id %q came back as %q", bad, got)
		}
		seen[got] = true
	}
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(h.log.String(), `"request_id":"trace-1.A_b"`) {
		t.Error("the id is not in the log")
	}
}

// The state that signs a Location is a right to write; it must not be in a log.
func TestAccessLogHasNoSecrets(t *testing.T) {
	h := start(t, nil)
	location := h.startUpload("team/app")
	_, query, ok := strings.Cut(location, "?")
	if !ok {
		t.Fatalf("the Location %s has no signature", location)
	}
	h.do(http.MethodPatch, location, strings.NewReader("abc"))
	h.do(http.MethodPut, withDigest(location, "sha256:bad"), nil)
	h.do(http.MethodGet, "/v2/?token=hunter2&n=5&password=hunter2&hunter2hunter2hunter2hunter2", nil,
		"Authorization", "Bearer hunter2", "Cookie", "s=hunter2")
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	log := h.log.String()
	if strings.Contains(log, "hunter2") {
		t.Errorf("a secret is in the log:\n%s", log)
	}
	for pair := range strings.SplitSeq(query, "&") {
		_, value, _ := strings.Cut(pair, "=")
		if len(value) > 10 && strings.Contains(log, value) {
			t.Errorf("the Location's %s is in the log:\n%s", pair, log)
		}
	}
	if !strings.Contains(log, "digest=sha256:bad") || !strings.Contains(log, "n=5") {
		t.Errorf("harmless parameters are missing in the log:\n%s", log)
	}
	lines := 0
	for line := range strings.SplitSeq(strings.TrimSpace(log), "\n") {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q is no JSON: %v", line, err)
		}
		if entry["msg"] != "request" {
			continue
		}
		lines++
		for _, key := range []string{"method", "route", "path", "status", "bytes", "received", "duration", "user_agent", "request_id"} {
			if entry[key] == nil {
				t.Errorf("no %s in %s", key, line)
			}
		}
	}
	if lines != 4 {
		t.Errorf("%d lines for 4 requests", lines)
	}
}

func TestRedactQuery(t *testing.T) {
	for in, want := range map[string]string{
		"n=5&last=v1":                          "last=v1&n=5",
		"sig=abc&digest=d":                     "digest=d&sig=redacted",
		"%zz":                                  "unparsable",
		"a;b":                                  "unparsable",
		"digest=a&digest=b":                    "digest=a&digest=b",
		"eyJhbGciOiJIUzI1Ni":                   "eyJhbGciOiJIUzI1Ni=redacted",
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9": "redacted=redacted",
	} {
		if got := redactQuery(in); got != want {
			t.Errorf("%q is logged as %q, want %q", in, got, want)
		}
	}
}

func TestPanic(t *testing.T) {
	log := new(logBuffer)
	logger, err := NewLogger(log, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New("v", "go")
	route := func(*http.Request) string { return "test" }
	srv := httptest.NewServer(observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("Docker-Content-Digest", "sha256:x")
		panic("the bug's own words")
	}), route, logger, m.Requests, time.Minute))
	defer srv.Close()

	resp, err := http.Get(srv.URL + "/early")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	var oci struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(body, &oci); err != nil || resp.StatusCode != 500 || len(oci.Errors) != 1 || oci.Errors[0].Code != "UNKNOWN" {
		t.Errorf("%d %s, want 500 and an OCI error", resp.StatusCode, body)
	}
	if strings.Contains(string(body), "own words") || resp.Header.Get("Docker-Content-Digest") != "" {
		t.Errorf("the answer tells too much: %s %v", body, resp.Header)
	}

	resp, err = http.Get(srv.URL + "/late")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken answer ends with %v: the client takes it for whole", err)
	}
	got := log.String()
	if strings.Count(got, "own words") != 2 || !strings.Contains(got, "middleware_test.go") {
		t.Errorf("the log does not tell where the panics were:\n%s", got)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(w.Body.String(), "slipway_http_panics_total 2") {
		t.Error("the panics are not counted")
	}
}

func TestNewLoggerRefuses(t *testing.T) {
	if _, err := NewLogger(io.Discard, "xml", "info"); err == nil {
		t.Error("xml is a format")
	}
	if _, err := NewLogger(io.Discard, "text", "loud"); err == nil {
		t.Error("loud is a level")
	}
}
