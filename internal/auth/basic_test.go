package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/slipway-oci/slipway/internal/registry"
)

func open(t *testing.T, content string) (*Htpasswd, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, content)
	h, err := OpenHtpasswd(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h, path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func ask(h *Htpasswd, header string) error {
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return h.Authorize(r, registry.Access{Action: registry.ActionNone})
}

func TestAuthorize(t *testing.T) {
	h, _ := open(t, "alice:"+hash(t, "pass:word")+"\n")
	for name, c := range map[string]struct {
		header string
		ok     bool
	}{
		"right":               {basic("alice", "pass:word"), true},
		"scheme in any case":  {strings.Replace(basic("alice", "pass:word"), "Basic", "bASIC", 1), true},
		"again, from memory":  {basic("alice", "pass:word"), true},
		"no credential":       {"", false},
		"wrong password":      {basic("alice", "password"), false},
		"no password":         {basic("alice", ""), false},
		"unknown user":        {basic("bob", "pass:word"), false},
		"token":               {"Bearer abc", false},
		"no base64":           {"Basic !!!", false},
		"no colon":            {"Basic " + base64.StdEncoding.EncodeToString([]byte("alice")), false},
		"long user":           {basic(strings.Repeat("a", 300), "x"), false},
		"long password":       {basic("alice", strings.Repeat("x", 1100)), false},
		"long header":         {"Basic " + strings.Repeat("QUFB", 1000), false},
		"only the scheme":     {"Basic", false},
		"control characters":  {basic("alice\x00", "pass:word"), false},
		"password's prefix":   {basic("alice", "pass:wor"), false},
		"user in other case":  {basic("Alice", "pass:word"), false},
		"trailing whitespace": {basic("alice", "pass:word") + " ", true},
	} {
		t.Run(name, func(t *testing.T) {
			err := ask(h, c.header)
			if c.ok {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var challenge *registry.Challenge
			if !errors.As(err, &challenge) {
				t.Fatalf("error %v, want a challenge", err)
			}
			if !strings.HasPrefix(challenge.Header, `Basic realm="`) {
				t.Errorf("challenge %q is not Basic", challenge.Header)
			}
		})
	}
	if n := h.state.Load().successes.len(); n != 1 {
		t.Errorf("%d credentials are remembered, want the right one only", n)
	}
}

func TestAuthorizeTellsTheCaller(t *testing.T) {
	h, _ := open(t, "alice:"+hash(t, "x")+"\n")
	var c Caller
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	r = r.WithContext(WithCaller(context.Background(), &c))
	r.SetBasicAuth("alice", "wrong")
	if h.Authorize(r, registry.Access{}) == nil || c.Name() != "" {
		t.Errorf("caller %q after a wrong password", c.Name())
	}
	r.SetBasicAuth("alice", "x")
	if err := h.Authorize(r, registry.Access{}); err != nil || c.Name() != "alice" {
		t.Errorf("caller %q, %v; want alice", c.Name(), err)
	}
}

// A success is remembered, because bcrypt with every request would be slow.
func TestSuccessIsRemembered(t *testing.T) {
	costly, err := bcrypt.GenerateFromPassword([]byte("x"), 10)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := open(t, "alice:"+string(costly)+"\n")
	header := basic("alice", "x")
	if err := ask(h, header); err != nil {
		t.Fatal(err)
	}
	// With every place taken, only memory can answer.
	for range cap(h.verifying) {
		h.verifying <- struct{}{}
	}
	if err := ask(h, header); err != nil {
		t.Errorf("a known credential waits for bcrypt: %v", err)
	}
	for range cap(h.verifying) {
		<-h.verifying
	}
	now := time.Now().Add(successTTL + time.Second)
	if h.state.Load().successes.has(h.fingerprints.of("alice", "x"), now) {
		t.Error("a credential is remembered for ever")
	}
}

func TestFileIsReadAgain(t *testing.T) {
	h, path := open(t, "alice:"+hash(t, "old")+"\n")
	now := time.Now()
	h.now = func() time.Time { return now }
	var logged bytes.Buffer
	h.log = slog.New(slog.NewTextHandler(&logged, nil))

	change := func(content string) {
		t.Helper()
		write(t, path, content)
		now = now.Add(2 * fileCheck)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	old, changed := basic("alice", "old"), basic("alice", "new")
	if err := ask(h, old); err != nil {
		t.Fatal(err)
	}
	change("alice:" + hash(t, "new") + "\n")
	if err := ask(h, old); err == nil {
		t.Error("the old password still works: what was remembered was not dropped")
	}
	if err := ask(h, changed); err != nil {
		t.Errorf("the new password does not work: %v", err)
	}

	change("alice:broken\n")
	if err := ask(h, changed); err != nil {
		t.Errorf("a broken file locks everybody out: %v", err)
	}
	if !strings.Contains(logged.String(), "cannot be used") {
		t.Errorf("a broken file is not in the log: %s", &logged)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * fileCheck)
	if err := ask(h, changed); err != nil {
		t.Errorf("a missing file locks everybody out: %v", err)
	}
	change("bob:" + hash(t, "b") + "\n")
	if ask(h, changed) == nil || ask(h, basic("bob", "b")) != nil {
		t.Error("a file that came back is not read")
	}
}

// A flood of wrong passwords waits in a short line and leaves no trace; users
// who are known go past it.
func TestFlood(t *testing.T) {
	h, _ := open(t, "alice:"+hash(t, "x")+"\n")
	h.maxWaiting = 16
	if err := ask(h, basic("alice", "x")); err != nil {
		t.Fatal(err)
	}
	for range cap(h.verifying) {
		h.verifying <- struct{}{}
	}
	var wg sync.WaitGroup
	for i := range h.maxWaiting {
		wg.Go(func() { _ = ask(h, basic("alice", fmt.Sprint("wrong", i))) })
	}
	for h.waiting.Load() < h.maxWaiting {
		time.Sleep(time.Millisecond)
	}
	var e *registry.Error
	if err := ask(h, basic("alice", "one more")); !errors.As(err, &e) || e.Status != http.StatusTooManyRequests {
		t.Errorf("one more answered %v, want 429", err)
	}
	if err := ask(h, basic("alice", "x")); err != nil {
		t.Errorf("a known user is held up: %v", err)
	}
	for range cap(h.verifying) {
		<-h.verifying
	}
	wg.Wait()
	if n := h.state.Load().successes.len(); n != 1 {
		t.Errorf("%d credentials are remembered, want 1", n)
	}
}

func TestSuccessesAreBounded(t *testing.T) {
	s := newSuccesses(3, time.Minute)
	f := newFingerprinter()
	now := time.Now()
	for i := range 10 {
		s.add(f.of("u", fmt.Sprint(i)), now)
	}
	if s.len() != 3 || !s.has(f.of("u", "9"), now) {
		t.Errorf("%d are remembered, the last one: %v", s.len(), s.has(f.of("u", "9"), now))
	}
	s.add(f.of("u", "later"), now.Add(2*time.Minute))
	if s.len() != 1 {
		t.Errorf("%d are remembered after the others expired, want 1", s.len())
	}
	if f.of("ab", "c") == f.of("a", "bc") || f.of("a", "b") == newFingerprinter().of("a", "b") {
		t.Error("fingerprints of different credentials or processes are the same")
	}
}
