package registry

import (
	"errors"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/meta"
)

// maxHolders bounds in how many repositories a mount without a source looks.
const maxHolders = 10

// mount makes a blob of another repository visible in this one
// (distribution-spec end-11). It reports whether it answered. If the source is
// not there, or not for this caller, the push goes on as a plain upload, and the
// client cannot tell which of the two it was: skopeo and regctl just try.
func (h *Handler) mount(w http.ResponseWriter, r *http.Request, name string, d digest.Digest, from string) (bool, error) {
	sources := []string{from}
	if from == "" {
		// Automatic discovery: regctl sends no source, crane sometimes.
		var err error
		if sources, err = h.meta.Holders(r.Context(), d, maxHolders); err != nil {
			return false, err
		}
	} else if !validName(from) {
		return false, errName(from)
	}
	for _, source := range sources {
		if source != name {
			if ok, err := h.mayPull(r, source); err != nil {
				return false, err
			} else if !ok {
				continue
			}
		}
		_, err := h.meta.Mount(r.Context(), source, name, d)
		switch {
		case err == nil:
			blobCreated(w, name, d)
			return true, nil
		case !errors.Is(err, meta.ErrBlobUnknown):
			return false, err
		}
	}
	return false, nil
}
