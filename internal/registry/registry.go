// Package registry is the OCI distribution API as one [http.Handler]: pull,
// push, discovery and management of distribution-spec 1.1, and what its
// development version adds (upload cancel, digest headers, tags on a push by
// digest).
//
// The same handler runs in a Lambda, in `slipway serve` and in tests. It keeps
// nothing between requests but locks on the uploads that are being written:
// what it knows is in the metadata model, what it serves is in the blob store.
//
//	route.go      path -> route; the table of all routes and who may call them
//	manifest.go   decode.go strict.go mediatype.go   manifests, and what is checked in them
//	blob.go       blobs that are there
//	upload.go     receive.go mount.go   blobs on their way in
//	location.go   the signed address of an upload
//	tag.go        catalog.go referrer.go page.go   lists and their pages
//	errors.go     the one error type that goes to the wire
//
// Every answer that is an error is OCI JSON with "Cache-Control: no-store".
// The handler logs failures of the stores and nothing else: who serves it logs
// requests.
package registry

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta"
)

// Config is what a Handler is made of.
type Config struct {
	// Meta is the metadata model. Required.
	Meta *meta.Model
	// Blobs is the store of the bytes. Required.
	Blobs blob.Store
	// UploadKeys are the HMAC keys of upload Locations: the first signs, all
	// verify, so that keys can be rotated. At least one; each of at least
	// [MinUploadKey] bytes.
	UploadKeys [][]byte
	// Authorizer decides who may do what. Nil: everybody may do everything.
	Authorizer Authorizer
	// Limits bound what one request may ask for. Zero fields mean defaults.
	Limits Limits
	// AllowMissing accepts sparse indexes and images: what a manifest lists need
	// not exist in the repository.
	AllowMissing bool
	// Log receives failures of the stores. Nil: nothing is logged.
	Log *slog.Logger
	// Clock tells the time. Nil: time.Now.
	Clock func() time.Time
}

// Limits bound what one request may ask for. Each refusal carries the spec's
// error code and a sentence that says what to do.
type Limits struct {
	// ManifestBytes is the size of the largest manifest, in bytes. Default
	// 4 MiB, the least that distribution-spec ("Pushing Manifests") lets
	// clients expect.
	ManifestBytes int64
	// References is the most descriptors in one manifest. Default 2,000.
	References int
	// BlobBytes is the size of the largest blob, in bytes. Default 50 GiB;
	// negative: no limit.
	BlobBytes int64
	// BodyIdle is how long a request's body may stand still before the request
	// ends. Default 60 s.
	BodyIdle time.Duration
	// UploadAge is how long the Location of an upload stays valid, counted from
	// the upload's start. Not longer than meta.Options.UploadAge makes sense.
	// Default 24 h.
	UploadAge time.Duration
	// UploadWait is how long a request waits for another one that is writing
	// the same upload. Default 5 s.
	UploadWait time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.ManifestBytes <= 0 {
		l.ManifestBytes = 4 << 20
	}
	if l.References <= 0 {
		l.References = 2000
	}
	if l.BlobBytes == 0 {
		l.BlobBytes = 50 << 30
	}
	if l.BlobBytes < 0 {
		l.BlobBytes = math.MaxInt64
	}
	if l.BodyIdle <= 0 {
		l.BodyIdle = time.Minute
	}
	if l.UploadAge <= 0 {
		l.UploadAge = 24 * time.Hour
	}
	if l.UploadWait <= 0 {
		l.UploadWait = 5 * time.Second
	}
	return l
}

// Handler serves the OCI distribution API. It is safe for concurrent use.
type Handler struct {
	meta         *meta.Model
	blobs        blob.Store
	auth         Authorizer
	limits       Limits
	allowMissing bool
	log          *slog.Logger
	clock        func() time.Time
	signer       signer
	writing      keyedLock     // upload ids that a request is writing to
	decoding     chan struct{} // holds a token for each large manifest that is being decoded
}

// New returns the handler, or an error that says which field of the
// configuration is missing or wrong.
func New(c Config) (*Handler, error) {
	if c.Meta == nil || c.Blobs == nil {
		return nil, errors.New("registry: Config.Meta and Config.Blobs are required")
	}
	s, err := newSigner(c.UploadKeys)
	if err != nil {
		return nil, fmt.Errorf("registry: Config.UploadKeys: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return &Handler{
		meta:         c.Meta,
		blobs:        c.Blobs,
		auth:         c.Authorizer,
		limits:       c.Limits.withDefaults(),
		allowMissing: c.AllowMissing,
		log:          c.Log,
		clock:        c.Clock,
		signer:       s,
		decoding:     make(chan struct{}, decodeAtOnce),
	}, nil
}

// ServeHTTP answers one request of the distribution API.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Docker's clients look for this header before they believe that they
	// speak to a registry.
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	h.boundUnread(w, r)
	if t, err := h.serve(w, r); err != nil {
		h.writeError(w, r, t, err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (target, error) {
	t, err := parsePath(r.URL.EscapedPath())
	if err != nil {
		return t, err
	}
	rt, err := t.route(r.Method)
	if err != nil {
		return t, err
	}
	if rt.access == actionSigned {
		// The signature names the repository and is the right to write there.
		if t.name, err = h.signer.verify(t.ref, r.URL.Query(), h.clock()); err != nil {
			return t, err
		}
	} else if err := h.authorize(r, Access{Action: rt.access, Repository: t.name}); err != nil {
		return t, err
	}
	return t, rt.handle(h, w, r, t)
}

// ping answers "yes, this is a registry" (distribution-spec end-1).
func (h *Handler) ping(w http.ResponseWriter, r *http.Request, _ target) error {
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, "application/json", struct{}{})
}
