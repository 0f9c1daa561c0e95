package meta

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Blob is content that is visible in a repository.
type Blob struct {
	Digest digest.Digest
	Size   int64  // bytes
	Key    string // the object in the blob store that holds them
}

// Blob returns the blob if it was uploaded to the repository or mounted there,
// else ErrBlobUnknown: knowing a digest is not owning it. One read, and more
// only where the blob is about to go.
func (m *Model) Blob(ctx context.Context, repo string, d digest.Digest) (Blob, error) {
	row, _, err := get[contentRow](ctx, m, linkKey(repo, d), ErrBlobUnknown)
	if err == nil {
		var visible bool
		if visible, err = m.visible(ctx, repo, d, &row); err == nil && !visible {
			err = ErrBlobUnknown
		}
	}
	if err != nil {
		return Blob{}, fmt.Errorf("blob %s in %s: %w", d, repo, err)
	}
	return Blob{Digest: d, Size: row.Size, Key: row.Object}, nil
}

// visible tells whether clients may see the blob. A condemned one is absent to
// them, so that they push it again, unless a manifest needs it after all: the
// sweeper may have condemned it an instant after that manifest came, and will
// notice; until then it must not look lost.
func (m *Model) visible(ctx context.Context, repo string, d digest.Digest, row *contentRow) (bool, error) {
	switch {
	case row == nil:
		return false, nil
	case row.State == live:
		return true, nil
	default:
		return m.referenced(ctx, repo, d)
	}
}

// referenced tells whether a manifest that is there needs the blob. Edges of
// manifests that are gone, or not yet there, do not count.
func (m *Model) referenced(ctx context.Context, repo string, d digest.Digest) (bool, error) {
	for after := ""; ; {
		page, err := m.table.Query(ctx, table.Range{PK: repoPartition(repo), Prefix: refsTo(d), After: after, Limit: table.MaxBatchGet})
		if err != nil {
			return false, err
		}
		if len(page.Items) > 0 {
			keys := make([]table.Key, len(page.Items))
			for i, it := range page.Items {
				keys[i] = manifestKey(repo, digest.Digest(strings.TrimPrefix(it.SK, refsTo(d))))
			}
			rows, err := m.read(ctx, keys)
			if err != nil {
				return false, err
			}
			if len(rows) > 0 {
				return true, nil
			}
		}
		if !page.More {
			return false, nil
		}
		after = page.Last
	}
}

// Mount makes a blob of one repository visible in another, without its bytes
// moving. ErrBlobUnknown where from does not have it. Whether the caller may
// read from there is the caller's to check. Safe to repeat.
func (m *Model) Mount(ctx context.Context, from, to string, d digest.Digest) (Blob, error) {
	if from == to {
		return m.Blob(ctx, to, d)
	}
	var mounted Blob
	err := attempt(fmt.Sprintf("mount %s from %s to %s", d, from, to), func() error {
		rows, err := m.read(ctx, []table.Key{linkKey(from, d), linkKey(to, d), storedKey(d)})
		if err != nil {
			return err
		}
		source, sourceIs, err1 := lookup[contentRow](rows, linkKey(from, d))
		target, targetIs, err2 := lookup[contentRow](rows, linkKey(to, d))
		stored, storedIs, err3 := lookup[contentRow](rows, storedKey(d))
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if target != nil && target.State == live {
			mounted = Blob{Digest: d, Size: target.Size, Key: target.Object}
			return nil
		}
		if ok, err := m.visible(ctx, from, d, source); err != nil {
			return err
		} else if !ok {
			return ErrBlobUnknown
		}
		if stored == nil || stored.State == deleting {
			// The source's link went between the reads of this batch.
			return errAgain
		}
		actions := []table.Action{table.Check(linkKey(from, d), sourceIs)}
		actions = append(actions, m.keep(storedKey(d), *stored, storedIs))
		actions = append(actions, m.show(to, d, *stored, targetIs)...)
		if err := m.table.Write(ctx, actions); err != nil {
			return err
		}
		mounted = Blob{Digest: d, Size: stored.Size, Key: stored.Object}
		return nil
	})
	return mounted, err
}

// keep demands that the content stays: that its row is as it was read, and live
// again where it was condemned. Whoever adds a holder of content does this in
// the same write; collect.go says why.
func (m *Model) keep(k table.Key, row contentRow, is table.Condition) table.Action {
	if row.State == live {
		return table.Check(k, is)
	}
	row.State, row.Touched = live, m.now()
	return table.Put(m.item(k, row, nil), is)
}

// show makes stored content visible in a repository and puts it on the due
// list, for nothing there refers to it yet.
func (m *Model) show(repo string, d digest.Digest, stored contentRow, is table.Condition) []table.Action {
	now := m.now()
	link := contentRow{header: current, Object: stored.Object, Size: stored.Size, Touched: now}
	return []table.Action{
		table.Put(m.item(linkKey(repo, d), link, nil), is),
		m.put(holderKey(d, repo), edge),
		m.schedule(task{Kind: taskLink, Repository: repo, Digest: d}, now.Add(m.opts.Grace)),
	}
}

// Holders returns up to limit names of repositories in which the blob is
// visible or was until recently.
func (m *Model) Holders(ctx context.Context, d digest.Digest, limit int) ([]string, error) {
	page, err := m.table.Query(ctx, table.Range{PK: blobPartition(d), Prefix: holderPrefix, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("holders of %s: %w", d, err)
	}
	names := make([]string, len(page.Items))
	for i, it := range page.Items {
		names[i] = strings.TrimPrefix(it.SK, holderPrefix)
	}
	return names, nil
}

// DeleteBlob takes the blob out of the repository: at once to readers, its
// bytes after the grace period if no other repository has it. ErrBlobUnknown
// if it is not there, ErrBlobReferenced if a manifest there needs it.
func (m *Model) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error {
	return attempt(fmt.Sprintf("delete blob %s in %s", d, repo), func() error {
		row, it, err := get[contentRow](ctx, m, linkKey(repo, d), ErrBlobUnknown)
		if err != nil {
			return err
		}
		needed, err := m.referenced(ctx, repo, d)
		switch {
		case err != nil:
			return err
		case needed:
			return ErrBlobReferenced
		case row.State == condemned:
			return ErrBlobUnknown
		}
		doomed, err := m.condemn(ctx, it, row, task{Kind: taskLink, Repository: repo, Digest: d})
		if err != nil {
			return err
		}
		// A manifest that was committed between the question and the condemning
		// wins; one that comes later finds the blob condemned and revives it.
		if needed, err = m.referenced(ctx, repo, d); err != nil || !needed {
			return err
		}
		row.State = condemned
		err = m.table.Write(ctx, []table.Action{m.keep(it.Key, row, table.IfVersion(doomed))})
		if err != nil && !table.IsCondition(err) {
			return err
		}
		return ErrBlobReferenced
	})
}
