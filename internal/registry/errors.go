package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta"
)

// Code is the identifier of an error on the wire.
type Code string

// The codes of distribution-spec, "Error Codes".
const (
	CodeBlobUnknown         Code = "BLOB_UNKNOWN"
	CodeUploadInvalid       Code = "BLOB_UPLOAD_INVALID"
	CodeUploadUnknown       Code = "BLOB_UPLOAD_UNKNOWN"
	CodeDigestInvalid       Code = "DIGEST_INVALID"
	CodeManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	CodeManifestInvalid     Code = "MANIFEST_INVALID"
	CodeManifestUnknown     Code = "MANIFEST_UNKNOWN"
	CodeNameInvalid         Code = "NAME_INVALID"
	CodeNameUnknown         Code = "NAME_UNKNOWN"
	CodeSizeInvalid         Code = "SIZE_INVALID"
	CodeUnauthorized        Code = "UNAUTHORIZED"
	CodeDenied              Code = "DENIED"
	CodeUnsupported         Code = "UNSUPPORTED"
	CodeTooManyRequests     Code = "TOOMANYREQUESTS"
)

// Codes that the spec lacks. Docker's registry and Amazon ECR use them for the
// same, so clients have words for them.
const (
	CodeTagInvalid        Code = "TAG_INVALID"
	CodePaginationInvalid Code = "PAGINATION_NUMBER_INVALID"
	CodeUnknown           Code = "UNKNOWN"
)

// Entry is one error of an answer (distribution-spec, "Error Codes").
type Entry struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// Error is an answer to the client that is not what it asked for: the one type
// of error that goes to the wire.
type Error struct {
	Status  int         // HTTP status
	Entries []Entry     // at least one
	Header  http.Header // further headers of the answer; may be nil

	// cause is what went wrong inside, for the log. It never goes to the wire.
	cause error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, e.Entries[0].Code, e.Entries[0].Message)
}

// fail returns an Error with one entry. The message says what to do.
func fail(status int, code Code, format string, args ...any) *Error {
	return &Error{Status: status, Entries: []Entry{{Code: code, Message: fmt.Sprintf(format, args...)}}}
}

// with adds a header to the answer.
func (e *Error) with(key, value string) *Error {
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	e.Header.Set(key, value)
	return e
}

// toError turns whatever a handler returned into what the client is told. An
// error that nobody foresaw is a failure of ours: 503, and its cause is kept.
func toError(err error) *Error {
	var (
		wire      *Error
		challenge *Challenge
		missing   *meta.MissingError
	)
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &challenge):
		return fail(http.StatusUnauthorized, CodeUnauthorized, "%s", challenge.Error()).
			with("WWW-Authenticate", challenge.Header)
	case errors.Is(err, ErrDenied):
		return fail(http.StatusForbidden, CodeDenied, "%s", err.Error())
	case errors.As(err, &missing):
		return missingContent(missing)
	case errors.Is(err, meta.ErrRepositoryUnknown):
		return fail(http.StatusNotFound, CodeNameUnknown, "the registry has no such repository: it comes into being with the first push")
	case errors.Is(err, meta.ErrManifestUnknown):
		return fail(http.StatusNotFound, CodeManifestUnknown, "the repository has no such manifest: check the name and the tag or digest")
	case errors.Is(err, meta.ErrBlobUnknown), errors.Is(err, blob.ErrNotFound):
		return fail(http.StatusNotFound, CodeBlobUnknown, "the repository has no such blob: push it, or mount it from a repository that has it")
	case errors.Is(err, meta.ErrBlobReferenced):
		// 405 is what the spec has for a blob that cannot be deleted.
		return fail(http.StatusMethodNotAllowed, CodeDenied,
			"a manifest of the repository needs the blob: delete the manifest, the blob goes by itself when nothing needs it").
			with("Allow", "GET, HEAD")
	case errors.Is(err, meta.ErrUploadUnknown):
		return fail(http.StatusNotFound, CodeUploadUnknown, "no such upload, or it has ended: start again with a POST")
	case errors.Is(err, meta.ErrUploadConflict):
		return errBusy()
	case errors.Is(err, meta.ErrTooManyUploads):
		return fail(http.StatusTooManyRequests, CodeTooManyRequests,
			"the repository has too many open uploads: finish or cancel some, then try again").with("Retry-After", "10")
	case errors.Is(err, meta.ErrTagImmutable):
		return fail(http.StatusConflict, CodeTagInvalid,
			"the tag already exists and cannot be overwritten because the repository's tags are immutable: use another tag, or delete this one first")
	case errors.Is(err, meta.ErrContention):
		return fail(http.StatusTooManyRequests, CodeTooManyRequests,
			"too many requests change the same thing at the same time: try again").with("Retry-After", "1")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e := fail(http.StatusServiceUnavailable, CodeUnknown,
			"the registry has no space left: its operator has to make some").with("Retry-After", "60")
		e.cause = err
		return e
	default:
		e := fail(http.StatusServiceUnavailable, CodeUnknown,
			"the registry could not do this just now: try again").with("Retry-After", "1")
		e.cause = err
		return e
	}
}

// maxMissing bounds how many missing digests one answer names.
const maxMissing = 50

// missingContent names each missing digest in an entry of its own, as the spec
// wants it ("one or more MANIFEST_BLOB_UNKNOWN errors").
func missingContent(m *meta.MissingError) *Error {
	e := &Error{Status: http.StatusNotFound}
	add := func(kind string, d string) {
		if len(e.Entries) < maxMissing {
			e.Entries = append(e.Entries, Entry{
				Code:    CodeManifestBlobUnknown,
				Message: "the manifest needs a " + kind + " that the repository lacks: push it first, then the manifest again",
				Detail:  map[string]string{"digest": d},
			})
		}
	}
	for _, d := range m.Blobs {
		add("blob", d.String())
	}
	for _, d := range m.Manifests {
		add("manifest", d.String())
	}
	if len(e.Entries) == 0 {
		add("blob or manifest", "")
	}
	return e
}

// writeError answers with the error. What names the thing that was asked for
// goes into the detail of an error that has none.
//
// It always answers: a handler that returns without a word has said 200. Even
// of a request that was cancelled somebody may read the answer, such as a client
// that closed only its sending side.
func (h *Handler) writeError(w http.ResponseWriter, r *http.Request, t target, err error) {
	e := toError(err)
	gone := errors.Is(e.cause, context.Canceled) && r.Context().Err() != nil // nothing is broken
	if e.cause != nil && !gone {
		h.log.ErrorContext(r.Context(), "registry: request failed",
			"method", r.Method, "route", resourceNames[t.resource], "repository", t.name, "reference", t.ref, "error", e.cause)
	}
	if e.Entries[0].Detail == nil && t.name != "" {
		detail := map[string]string{"name": t.name}
		if t.ref != "" {
			detail["reference"] = t.ref
		}
		e.Entries[0].Detail = detail
	}
	header := w.Header()
	for k, v := range e.Header {
		header[k] = v
	}
	// A cached 404 would outlive the push that follows it.
	header.Set("Cache-Control", "no-store")
	_ = writeJSON(w, e.Status, "application/json", struct {
		Errors []Entry `json:"errors"`
	}{e.Entries})
}

// writeJSON answers with a JSON body of known length. An error means that
// nothing was written yet.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is nobody's error
	return nil
}
