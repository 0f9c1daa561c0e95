package registry

import (
	"errors"
	"net/http"
)

// Action is what a request wants to do.
type Action string

// The actions that an Authorizer is asked about. A request asks for exactly
// one; a mount asks for pull on the source besides.
const (
	ActionNone    Action = "none"    // GET /v2/: only be somebody, if the registry wants that
	ActionPull    Action = "pull"    // read manifests, blobs, tags and referrers of the repository
	ActionPush    Action = "push"    // add manifests, tags and blobs to it
	ActionDelete  Action = "delete"  // remove them from it
	ActionCatalog Action = "catalog" // list the names of all repositories

	// actionSigned: the request's own signature is the right, nobody is asked.
	actionSigned Action = "signed"
)

// Access is one thing that a request wants to do.
type Access struct {
	Action     Action
	Repository string // "" for ActionNone and ActionCatalog
}

// Authorizer decides whether the caller of a request may have an access.
//
// It answers nil for yes, a [*Challenge] for "who are you?" (401), an error
// wrapping [ErrDenied] for no (403). Any other error means that it could not
// decide: the client gets a 503 and the log gets the error. It may be asked
// more than once in a request and must not touch the request's body.
type Authorizer interface {
	Authorize(r *http.Request, a Access) error
}

// Challenge is the error of an Authorizer that wants (other) credentials.
type Challenge struct {
	// Header is the value of the WWW-Authenticate header, such as
	// `Bearer realm="https://…/token",service="…"`. A Bearer challenge without
	// a scope works with every client that was tried.
	Header string
	// Reason is a sentence for the client; may be empty.
	Reason string
}

func (c *Challenge) Error() string {
	if c.Reason != "" {
		return c.Reason
	}
	return "authentication required: log in to this registry and try again"
}

// ErrDenied is wrapped by what an Authorizer answers for a caller who is known
// and may not. The text of the wrapping error goes to the client.
var ErrDenied = errors.New("requested access to the resource is denied")

func (h *Handler) authorize(r *http.Request, a Access) error {
	if h.auth == nil {
		return nil
	}
	return h.auth.Authorize(r, a)
}

// mayPull asks about a repository other than the one the request names. A no is
// an answer here, not an error.
func (h *Handler) mayPull(r *http.Request, name string) (bool, error) {
	err := h.authorize(r, Access{Action: ActionPull, Repository: name})
	var challenge *Challenge
	if errors.As(err, &challenge) || errors.Is(err, ErrDenied) {
		return false, nil
	}
	return err == nil, err
}
