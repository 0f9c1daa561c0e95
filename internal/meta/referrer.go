package meta

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Referrer makes a manifest known as one that refers to a subject.
type Referrer struct {
	Subject digest.Digest
	// Descriptor is the manifest as the referrers API lists it.
	Descriptor ocispec.Descriptor
}

// Referrers returns up to limit manifests in the repository whose subject is
// the digest, in the order of their digests and greater than after ("" for the
// first), and whether there are more. An unknown subject has none.
func (m *Model) Referrers(ctx context.Context, repo string, subject, after digest.Digest, limit int) ([]ocispec.Descriptor, bool, error) {
	prefix := referrersTo(subject)
	r := table.Range{PK: repoPartition(repo), Prefix: prefix, Limit: limit}
	if after != "" {
		r.After = prefix + after.String()
	}
	page, err := m.table.Query(ctx, r)
	if err != nil {
		return nil, false, fmt.Errorf("referrers to %s in %s: %w", subject, repo, err)
	}
	list := make([]ocispec.Descriptor, len(page.Items))
	for i, it := range page.Items {
		row, err := rowOf[referrerRow](it)
		if err == nil {
			err = json.Unmarshal(row.Descriptor, &list[i])
		}
		if err != nil {
			return nil, false, fmt.Errorf("referrers to %s in %s: %w", subject, repo, err)
		}
	}
	return list, page.More, nil
}
