package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-oci/slipway/internal/meta"
)

const (
	// maxReferrersBytes bounds a page of referrers: clients refuse an index
	// over 4 MiB, and a descriptor carries its manifest's annotations.
	maxReferrersBytes = 3 << 20
	// maxReferrersReads bounds how often a page with a filter reads on where
	// nothing passed the filter. The Link goes on from there.
	maxReferrersReads = 8
	// referrersRead is how many descriptors are read at once.
	referrersRead = 100
)

// listReferrers answers a page of the manifests whose subject is the digest, as
// an image index (distribution-spec end-12). Of a subject or a repository that
// is not there the list is empty: a 404 would mean that the registry lacks the
// API. The parameter artifactType filters.
func (h *Handler) listReferrers(w http.ResponseWriter, r *http.Request, t target) error {
	subject, err := parseDigest(t.ref)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	p, err := parsePage(q, func(s string) bool { _, err := parseDigest(s); return err == nil })
	if err != nil {
		return err
	}
	filter := q.Get("artifactType")
	list, next, err := h.referrers(r, t.name, subject, p, filter)
	if err != nil {
		return err
	}
	if next != "" {
		var keep url.Values
		if filter != "" {
			keep = url.Values{"artifactType": {filter}}
		}
		p.setNext(w, "/v2/"+t.name+"/referrers/"+subject.String(), next.String(), keep)
	}
	if filter != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: list,
	})
}

// referrers collects a page. next is the digest after which more follow, or "".
func (h *Handler) referrers(r *http.Request, name string, subject digest.Digest, p page, filter string) (list []ocispec.Descriptor, next digest.Digest, err error) {
	list = []ocispec.Descriptor{} // never null
	if p.n == 0 {
		return list, "", nil
	}
	after, size := digest.Digest(p.last), 0
	for range maxReferrersReads {
		found, more, err := h.meta.Referrers(r.Context(), name, subject, after, min(p.n, referrersRead))
		if errors.Is(err, meta.ErrRepositoryUnknown) {
			return list, "", nil
		}
		if err != nil {
			return nil, "", err
		}
		for i, d := range found {
			if filter != "" && d.ArtifactType != filter {
				after = d.Digest
				continue
			}
			encoded, err := json.Marshal(d)
			if err != nil {
				return nil, "", fmt.Errorf("encode referrer %s: %w", d.Digest, err)
			}
			if len(list) > 0 && size+len(encoded) > maxReferrersBytes {
				return list, after, nil
			}
			list, size, after = append(list, d), size+len(encoded)+1, d.Digest
			if len(list) == p.n && (more || i < len(found)-1) {
				return list, after, nil
			}
		}
		if !more || len(found) == 0 {
			return list, "", nil
		}
	}
	return list, after, nil
}
