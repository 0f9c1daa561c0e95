package meta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Repository is a named collection of manifests, tags and blobs, and its
// settings. It comes to be with its first manifest or with SaveRepository.
type Repository struct {
	Name    string
	Created time.Time
	// ImmutableTags: a tag, once set, cannot move to another manifest.
	ImmutableTags bool
}

// Repository returns the repository, or ErrRepositoryUnknown. One read.
func (m *Model) Repository(ctx context.Context, name string) (Repository, error) {
	row, _, err := get[repoRow](ctx, m, repoKey(name), ErrRepositoryUnknown)
	if err != nil {
		return Repository{}, fmt.Errorf("repository %s: %w", name, err)
	}
	return Repository{Name: name, Created: row.Created, ImmutableTags: row.ImmutableTags}, nil
}

// SaveRepository creates the repository or changes its settings. Created is
// kept as it was. A push that runs at the same time sees the settings either
// before or after, and no tag moves against the setting it saw.
func (m *Model) SaveRepository(ctx context.Context, r Repository) error {
	return attempt("save repository "+r.Name, func() error {
		row, it, err := get[repoRow](ctx, m, repoKey(r.Name), ErrRepositoryUnknown)
		cond := table.IfVersion(it.Version)
		if errors.Is(err, ErrRepositoryUnknown) {
			row, cond = m.newRepository(), table.IfAbsent()
		} else if err != nil {
			return err
		}
		row.ImmutableTags = r.ImmutableTags
		return m.table.Write(ctx, m.repositoryActions(r.Name, row, cond))
	})
}

func (m *Model) newRepository() repoRow {
	return repoRow{header: current, Created: m.now(), ImmutableTags: m.opts.ImmutableTags}
}

// repositoryActions write the repository and its entry in the catalog.
func (m *Model) repositoryActions(name string, row repoRow, c table.Condition) []table.Action {
	return []table.Action{
		table.Put(m.item(repoKey(name), row, nil), c),
		m.put(catalogKey(name), edge),
	}
}

// Catalog returns up to limit names of repositories greater than after, in
// lexical order, and whether there are more.
func (m *Model) Catalog(ctx context.Context, after string, limit int) ([]string, bool, error) {
	names, more, err := m.sortKeys(ctx, catalogPartition, after, limit)
	if err != nil {
		return nil, false, fmt.Errorf("catalog: %w", err)
	}
	return names, more, nil
}

// sortKeys lists a partition whose sort keys are what is wanted.
func (m *Model) sortKeys(ctx context.Context, pk, after string, limit int) ([]string, bool, error) {
	page, err := m.table.Query(ctx, table.Range{PK: pk, After: after, Limit: limit})
	if err != nil {
		return nil, false, err
	}
	keys := make([]string, len(page.Items))
	for i, it := range page.Items {
		keys[i] = it.SK
	}
	return keys, page.More, nil
}
