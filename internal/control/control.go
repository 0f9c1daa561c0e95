// Package control is the API for what the OCI distribution API does not know:
// for now, the settings of repositories. It lives below /v2/-/, because "-" is
// the name of no repository.
//
//	GET /v2/-/repositories/<name>
//	PUT /v2/-/repositories/<name>    {"immutableTags": true}
//
// Both answer {"name": …, "created": …, "immutableTags": …}. PUT creates a
// repository that does not exist.
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/registry"
)

// Prefix is what the paths of this API begin with.
const Prefix = "/v2/-/repositories/"

// ActionAdmin is what the authorizer is asked for before settings are read or
// changed.
const ActionAdmin registry.Action = "admin"

// maxBody bounds a request's document, in bytes.
const maxBody = 64 << 10

// Handler serves the API.
type Handler struct {
	model *meta.Model
	auth  registry.Authorizer
	log   *slog.Logger
	wait  time.Duration
}

// New returns the API over the model. Without an authorizer everybody may do
// everything. A document has to be there whole after the time of wait; it is so
// small that how fast it comes does not matter.
func New(model *meta.Model, auth registry.Authorizer, log *slog.Logger, wait time.Duration) *Handler {
	return &Handler{model: model, auth: auth, log: log, wait: wait}
}

// repository is the document that goes over the wire.
type repository struct {
	Name          string    `json:"name"`
	Created       time.Time `json:"created"`
	ImmutableTags bool      `json:"immutableTags"`
}

// change is what a PUT may hold. The name and the time that a GET answered may
// come back with it, so that a document can be edited and sent; they change
// nothing.
type change struct {
	Name          string     `json:"name"`
	Created       *time.Time `json:"created"`
	ImmutableTags *bool      `json:"immutableTags"`
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h.serve(w, r)
	if err == nil {
		return
	}
	if WriteError(w, err) >= 500 {
		h.log.ErrorContext(r.Context(), "control: request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutPrefix(r.URL.EscapedPath(), Prefix)
	if !ok || !validName(name) {
		return refuse(http.StatusBadRequest, registry.CodeNameInvalid,
			"%.80q is no repository name: the address is %s<name>", name, Prefix)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPut {
		e := refuse(http.StatusMethodNotAllowed, registry.CodeUnsupported, "the method %.20q is not supported here; supported are GET, HEAD, PUT", r.Method)
		e.Header = http.Header{"Allow": {"GET, HEAD, PUT"}}
		return e
	}
	if h.auth != nil {
		if err := h.auth.Authorize(r, registry.Access{Action: ActionAdmin, Repository: name}); err != nil {
			return err
		}
	}
	if r.Method == http.MethodPut {
		if err := h.save(w, r, name); err != nil {
			return err
		}
	}
	repo, err := h.model.Repository(r.Context(), name)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, repository(repo))
	return nil
}

// save applies the document of a PUT.
func (h *Handler) save(w http.ResponseWriter, r *http.Request, name string) error {
	// Not taken back: net/http does that, and until then it bounds how long it
	// waits for the rest of a document that was refused.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.wait))
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refuse(http.StatusRequestTimeout, registry.CodeSizeInvalid, "the document did not come within %s: send it again", h.wait)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, registry.CodeSizeInvalid, "the document could not be read whole, or has more than %d bytes", maxBody)
	}
	var c change
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields() // a misspelt setting would seem to be set
	if err := dec.Decode(&c); err != nil {
		return refuse(http.StatusBadRequest, registry.CodeUnsupported, `the document is not what is expected here, such as {"immutableTags": true}: %v`, err)
	}
	if c.Name != "" && c.Name != name {
		return refuse(http.StatusBadRequest, registry.CodeNameInvalid, "the document is about %.80q, the address about %q: a repository cannot be renamed", c.Name, name)
	}
	if c.ImmutableTags == nil {
		return refuse(http.StatusBadRequest, registry.CodeUnsupported, `the document has no setting: say {"immutableTags": true} or false`)
	}
	return h.model.SaveRepository(r.Context(), meta.Repository{Name: name, ImmutableTags: *c.ImmutableTags})
}

// validName asks the registry, which owns the grammar: a name is one if the
// address of its tags is an address.
func validName(name string) bool {
	r, err := http.NewRequest(http.MethodGet, "/v2/"+name+"/tags/list", nil)
	return err == nil && r.URL.RawQuery == "" && r.URL.Fragment == "" && registry.RouteName(r) == "tags"
}

func refuse(status int, code registry.Code, format string, args ...any) *registry.Error {
	return &registry.Error{Status: status, Entries: []registry.Entry{{Code: code, Message: fmt.Sprintf(format, args...)}}}
}

// wireError turns what a request failed with into what the client is told.
func wireError(err error) *registry.Error {
	var wire *registry.Error
	var challenge *registry.Challenge
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &challenge):
		e := refuse(http.StatusUnauthorized, registry.CodeUnauthorized, "%s", challenge.Error())
		e.Header = http.Header{"Www-Authenticate": {challenge.Header}}
		return e
	case errors.Is(err, registry.ErrDenied):
		return refuse(http.StatusForbidden, registry.CodeDenied, "%s", err.Error())
	case errors.Is(err, meta.ErrRepositoryUnknown):
		return refuse(http.StatusNotFound, registry.CodeNameUnknown, "the registry has no such repository: create it with a PUT here, or with the first push")
	case errors.Is(err, meta.ErrContention):
		e := refuse(http.StatusTooManyRequests, registry.CodeTooManyRequests, "too many requests change the same thing at the same time: try again")
		e.Header = http.Header{"Retry-After": {"1"}}
		return e
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e := refuse(http.StatusServiceUnavailable, registry.CodeUnknown, "the registry has no space left: its operator has to make some")
		e.Header = http.Header{"Retry-After": {"60"}}
		return e
	default:
		e := refuse(http.StatusServiceUnavailable, registry.CodeUnknown, "the registry could not do this just now: try again")
		e.Header = http.Header{"Retry-After": {"1"}}
		return e
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}

// WriteError answers with the error, in the form of the OCI distribution API,
// and returns its status. It is also for hosts that guard further addresses by
// the same authorizer.
func WriteError(w http.ResponseWriter, err error) int {
	e := wireError(err)
	for k, v := range e.Header {
		w.Header()[k] = v
	}
	writeJSON(w, e.Status, map[string]any{"errors": e.Entries})
	return e.Status
}
