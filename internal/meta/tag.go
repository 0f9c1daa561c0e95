package meta

import (
	"context"
	"fmt"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Tags returns up to limit tags greater than after, in lexical order, and
// whether there are more. An unknown repository is ErrRepositoryUnknown. The
// cost is that of the page, however many tags there are.
func (m *Model) Tags(ctx context.Context, repo, after string, limit int) ([]string, bool, error) {
	tags, more, err := m.sortKeys(ctx, tagListPartition(repo), after, limit)
	if err != nil {
		return nil, false, fmt.Errorf("tags of %s: %w", repo, err)
	}
	if len(tags) == 0 {
		// Only an empty answer needs the question whether there is a repository.
		if _, err := m.Repository(ctx, repo); err != nil {
			return nil, false, fmt.Errorf("tags: %w", err)
		}
	}
	return tags, more, nil
}

// DeleteTag removes the tag and leaves its manifest, or returns
// ErrManifestUnknown.
func (m *Model) DeleteTag(ctx context.Context, repo, tag string) error {
	return attempt("delete tag "+repo+":"+tag, func() error {
		row, it, err := get[manifestRow](ctx, m, tagKey(repo, tag), ErrManifestUnknown)
		if err != nil {
			return err
		}
		return m.table.Write(ctx, untag(repo, tag, row, table.IfVersion(it.Version)))
	})
}

// tagActions point the tag at the manifest. old is where it points now, nil if
// nowhere, and cond that this is still so.
func (m *Model) tagActions(repo, tag string, to manifestRow, body []byte, old *manifestRow, cond table.Condition) []table.Action {
	to.Children, to.Doomed = children{}, false
	actions := []table.Action{
		table.Put(m.item(tagKey(repo, tag), to, body), cond),
		m.put(taggedKey(repo, to.Digest, tag), edge),
	}
	if old == nil {
		return append(actions, m.put(tagListKey(repo, tag), edge))
	}
	return append(actions, table.Delete(taggedKey(repo, old.Digest, tag), table.Always()))
}

// untag removes the tag, which points at row.
func untag(repo, tag string, row manifestRow, cond table.Condition) []table.Action {
	return []table.Action{
		table.Delete(tagKey(repo, tag), cond),
		table.Delete(tagListKey(repo, tag), table.Always()),
		table.Delete(taggedKey(repo, row.Digest, tag), table.Always()),
	}
}
