package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/slipway-oci/slipway/internal/datadir"
)

// host is a running registry under test.
type host struct {
	*Server
	t    *testing.T
	url  string
	log  *logBuffer
	stop func() error // as by a signal; waits for the end
}

// logBuffer takes the log; several goroutines write it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a registry, by default on a free loopback port with fresh data.
func start(t *testing.T, change func(*Options)) *host {
	t.Helper()
	log := new(logBuffer)
	logger, err := NewLogger(log, "json", "debug")
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{
		Listen:          "127.0.0.1:0",
		Data:            filepath.Join(t.TempDir(), "data"),
		ShutdownTimeout: 30 * time.Second,
		Metrics:         true,
		Version:         "v0.0.0-test",
		GoVersion:       "go0",
		Log:             logger,
	}
	if change != nil {
		change(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	h := &host{Server: s, t: t, url: "http://" + s.Addr().String(), log: log}
	if s.secure {
		h.url = "https://" + s.Addr().String()
	}
	h.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = h.stop() })
	return h
}

// answer is what came back.
type answer struct {
	*http.Response
	body []byte
}

// do sends a request, on a connection of its own.
func (h *host) do(method, path string, body io.Reader, header ...string) answer {
	h.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = h.url + path
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Close = true
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp, raw}
}

// startUpload opens an upload and returns its Location.
func (h *host) startUpload(repo string, header ...string) string {
	h.t.Helper()
	a := h.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil, header...)
	location := a.Header.Get("Location")
	if a.StatusCode != http.StatusAccepted || location == "" {
		h.t.Fatalf("start of an upload: %d %s", a.StatusCode, a.body)
	}
	if strings.HasPrefix(location, "/") {
		location = h.url + location
	}
	return location
}

// withDigest appends the digest to an upload's Location, as clients do.
func withDigest(location, digest string) string {
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	return location + separator + "digest=" + digest
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pushBlob pushes in one PUT and returns the digest.
func (h *host) pushBlob(repo string, content []byte, header ...string) string {
	h.t.Helper()
	digest := digestOf(content)
	a := h.do(http.MethodPut, withDigest(h.startUpload(repo, header...), digest), bytes.NewReader(content))
	if a.StatusCode != http.StatusCreated {
		h.t.Fatalf("push of a blob: %d %s", a.StatusCode, a.body)
	}
	return digest
}

// pushImage pushes an image of one layer under the tag and returns the
// manifest's digest.
func (h *host) pushImage(repo, tag string, layer []byte) string {
	h.t.Helper()
	config := h.pushBlob(repo, []byte("{}"))
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		config, h.pushBlob(repo, layer), len(layer))
	a := h.do(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, bytes.NewReader(manifest),
		"Content-Type", "application/vnd.oci.image.manifest.v1+json")
	if a.StatusCode != http.StatusCreated {
		h.t.Fatalf("push of a manifest: %d %s", a.StatusCode, a.body)
	}
	return digestOf(manifest)
}

// htpasswdFile writes a file with one user.
func htpasswdFile(t *testing.T, user, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte(user+":"+string(h)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExposure(t *testing.T) {
	users := htpasswdFile(t, "alice", "x")
	for _, c := range []struct {
		listen, htpasswd string
		allowed          bool
		refused          string
	}{
		{"127.0.0.1:0", "", false, ""},
		{"127.9.9.9:0", "", false, ""},
		{"[::1]:0", "", false, ""},
		{"localhost:0", "", false, ""},
		{"0.0.0.0:0", "", false, "--htpasswd"},
		{":0", "", false, "--htpasswd"},
		{"[::]:0", "", false, "--allow-unauthenticated"},
		{"192.0.2.1:0", "", false, "--htpasswd"},
		{"5000", "", false, "HOST:PORT"},
		{"0.0.0.0:0", users, false, ""},
		{"0.0.0.0:0", "", true, ""},
	} {
		err := Options{Listen: c.listen, Data: "x", Htpasswd: c.htpasswd, AllowUnauthenticated: c.allowed}.check()
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// New refuses before it makes anything.
func TestRefusedStartLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := New(Options{Listen: "0.0.0.0:0", Data: dir}); err == nil {
		t.Fatal("listens beyond loopback without authentication")
	}
	if _, err := New(Options{Listen: "127.0.0.1:0", Data: dir, TLSCert: "x"}); err == nil {
		t.Fatal("starts with half of TLS")
	}
	if _, err := New(Options{Listen: "127.0.0.1:0", Data: dir, Htpasswd: "/nonexistent"}); err == nil {
		t.Fatal("starts without the users it was told of")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused start left a data directory: %v", err)
	}
}

// Everything goes on after a restart: manifests, and uploads where they were.
func TestRestart(t *testing.T) {
	h := start(t, nil)
	dir := h.data.Path
	manifest := h.pushImage("team/app", "v1", []byte("layer"))
	_, err := New(Options{Listen: "127.0.0.1:0", Data: dir})
	if !errors.Is(err, datadir.ErrInUse) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("second registry on the same data: %v", err)
	}
	location := h.startUpload("team/app")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}

	again := start(t, func(o *Options) { o.Data = dir })
	if a := again.do(http.MethodGet, "/v2/team/app/manifests/v1", nil); a.StatusCode != 200 || digestOf(a.body) != manifest {
		t.Errorf("after a restart: %d %s", a.StatusCode, a.body)
	}
	location = strings.Replace(location, h.url, again.url, 1)
	if a := again.do(http.MethodPut, withDigest(location, digestOf([]byte("x"))), strings.NewReader("x")); a.StatusCode != http.StatusCreated {
		t.Errorf("upload from before the restart: %d %s", a.StatusCode, a.body)
	}
}

// A start that fails late lets go of the directory.
func TestFailedStartHoldsNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "upload.key"), []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{Listen: "127.0.0.1:0", Data: dir})
	if err == nil || !strings.Contains(err.Error(), "upload.key") {
		t.Errorf("error %v, want one about the key", err)
	}
	if err := os.Remove(filepath.Join(dir, "upload.key")); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Listen: "127.0.0.1:0", Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestBanner(t *testing.T) {
	s, err := New(Options{Listen: "0.0.0.0:0", Data: t.TempDir(), Htpasswd: htpasswdFile(t, "a", "b"),
		Version: "v9", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b strings.Builder
	s.Banner(&b)
	port := s.Addr().String()[strings.LastIndex(s.Addr().String(), ":"):]
	for _, want := range []string{"v9", s.data.Path, "docker login localhost" + port, "docker tag alpine localhost" + port + "/alpine",
		"docker push localhost" + port + "/alpine", "docker pull localhost" + port + "/alpine"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, &b)
		}
	}
}
