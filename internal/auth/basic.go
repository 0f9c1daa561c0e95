// Package auth tells who sends a request and whether they may.
//
// For now there is one kind of identity: the users of an htpasswd file, who may
// do everything.
package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/slipway-oci/slipway/internal/registry"
)

// The bounds of a credential. bcrypt itself looks at 72 bytes of a password.
const (
	maxUserBytes       = 255
	maxPasswordBytes   = 1024
	maxCredentialBytes = 2048 // of base64 in the header
)

const (
	// fileCheck is how often, at most, a request looks whether the file has
	// changed: for so long a removed user may still come in.
	fileCheck = time.Second
	// successTTL is how long a verified credential is taken without bcrypt.
	successTTL = 10 * time.Minute
	// maxSuccesses bounds how many of them are remembered.
	maxSuccesses = 4096
	// maxWaiting bounds how many credentials wait to be verified.
	maxWaiting = 256
)

// Realm is what the challenge names; clients show it.
const Realm = "Slipway"

// errWrong: the credential is not right. It says no more on purpose.
var errWrong = errors.New("the user name or the password is wrong")

// Htpasswd is a registry.Authorizer: the users of a file of bcrypt entries may
// do everything, nobody else may do anything. The file is read again when it
// changes.
type Htpasswd struct {
	path string
	log  *slog.Logger
	now  func() time.Time

	state   atomic.Pointer[state]
	checked atomic.Int64 // when the file was last looked at, Unix nanoseconds
	reload  sync.Mutex

	fingerprints *fingerprinter
	verifying    chan struct{} // a place for each verification that may run
	waiting      atomic.Int64
	maxWaiting   int64
	flights      singleflight.Group
}

var _ registry.Authorizer = (*Htpasswd)(nil)

// state is the file's content and what was verified against it. A new content
// starts with nothing verified, and what is still being verified against the
// old one ends up in the old state.
type state struct {
	users     *users
	successes *successes
	seen      fileState
}

// fileState is what changes when the file does.
type fileState struct {
	modified time.Time
	size     int64
}

// OpenHtpasswd reads the file. Later changes that cannot be read are logged,
// and the last good content stays in force.
func OpenHtpasswd(path string, log *slog.Logger) (*Htpasswd, error) {
	u, err := readUsers(path)
	if err != nil {
		return nil, err
	}
	h := &Htpasswd{
		path:         path,
		log:          log,
		now:          time.Now,
		fingerprints: newFingerprinter(),
		// Half of the processors at most: the rest go on serving those who
		// are known, whatever wrong passwords come in.
		verifying:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		maxWaiting: maxWaiting,
	}
	h.state.Store(newState(u, fileState{u.modified, u.size}))
	h.checked.Store(h.now().UnixNano())
	return h, nil
}

func newState(u *users, seen fileState) *state {
	return &state{users: u, successes: newSuccesses(maxSuccesses, successTTL), seen: seen}
}

// Authorize answers nil for a user of the file, whatever the access, and else
// a Basic challenge.
func (h *Htpasswd) Authorize(r *http.Request, _ registry.Access) error {
	header := r.Header.Get("Authorization")
	if header == "" {
		return challenge("")
	}
	user, password, err := parseBasic(header)
	if err != nil {
		return challenge(err.Error())
	}
	if err := h.verify(user, password); err != nil {
		if errors.Is(err, errWrong) {
			return challenge(err.Error())
		}
		return err
	}
	identify(r.Context(), user)
	return nil
}

// challenge asks for a user name and a password.
func challenge(reason string) error {
	return &registry.Challenge{Header: fmt.Sprintf("Basic realm=%q, charset=\"UTF-8\"", Realm), Reason: reason}
}

// parseBasic reads an Authorization header (RFC 7617). Unlike
// http.Request.BasicAuth it bounds the length before it decodes.
func parseBasic(header string) (user, password string, err error) {
	scheme, credential, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", errors.New("this registry takes a user name and a password (Basic): log in to it again")
	}
	if len(credential) > maxCredentialBytes {
		return "", "", errors.New("the credential is too long")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credential))
	if err != nil {
		return "", "", errors.New("the credential is not valid base64")
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok || user == "" || len(user) > maxUserBytes || len(password) > maxPasswordBytes {
		return "", "", errors.New("the credential is not of the form user:password, or too long")
	}
	return user, password, nil
}

// verify answers nil, errWrong, or an error that says why it could not tell.
func (h *Htpasswd) verify(user, password string) error {
	s := h.current()
	fp := h.fingerprints.of(user, password)
	if s.successes.has(fp, h.now()) {
		return nil
	}
	if h.waiting.Add(1) > h.maxWaiting {
		h.waiting.Add(-1)
		return errFlood()
	}
	defer h.waiting.Add(-1)
	// A client opens several connections at once with the same credential;
	// one verification does for all. The key names the state too, so that
	// nobody joins a verification against the file as it was.
	_, err, _ := h.flights.Do(fmt.Sprintf("%p %s", s, fp[:]), func() (any, error) {
		h.verifying <- struct{}{}
		defer func() { <-h.verifying }()
		if !s.users.check(user, password) {
			return nil, errWrong
		}
		s.successes.add(fp, h.now())
		return nil, nil
	})
	return err
}

// errFlood sends a client away that would have to wait too long.
func errFlood() error {
	return &registry.Error{
		Status: http.StatusTooManyRequests,
		Entries: []registry.Entry{{
			Code:    registry.CodeTooManyRequests,
			Message: "too many logins are being checked just now: try again in some seconds",
		}},
		Header: http.Header{"Retry-After": {"5"}},
	}
}

// current returns the content of the file, read again if the file has changed.
func (h *Htpasswd) current() *state {
	now := h.now().UnixNano()
	checked := h.checked.Load()
	if now-checked < int64(fileCheck) || !h.checked.CompareAndSwap(checked, now) {
		return h.state.Load()
	}
	h.reload.Lock()
	defer h.reload.Unlock()
	old := h.state.Load()
	info, err := os.Stat(h.path)
	if err != nil {
		if old.seen != (fileState{}) { // once, not once a second
			h.log.Error("the htpasswd file is not readable; the users known so far stay in force", "file", h.path, "error", err)
			h.state.Store(&state{users: old.users, successes: old.successes})
		}
		return h.state.Load()
	}
	seen := fileState{info.ModTime(), info.Size()}
	if seen == old.seen {
		return old
	}
	u, err := readUsers(h.path)
	if err != nil {
		h.log.Error("the htpasswd file has changed and cannot be used; the users known so far stay in force", "error", err)
		h.state.Store(&state{users: old.users, successes: old.successes, seen: seen})
		return h.state.Load()
	}
	h.log.Info("htpasswd file read again", "file", h.path, "users", len(u.hashes))
	h.state.Store(newState(u, fileState{u.modified, u.size}))
	return h.state.Load()
}
