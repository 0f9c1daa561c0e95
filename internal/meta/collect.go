package meta

import (
	"context"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// How content goes, and how it comes back.
//
//	           unneeded for a          still unneeded after
//	           grace period            a second one
//	   live ───────────────▶ condemned ───────────────▶ gone
//	    ▲                        │
//	    ╰────────────────────────╯
//	     somebody needs it: revived in the write that says so
//
// It happens twice with the same rules: to a blob's row in a repository, whose
// holders are the edges from manifests there, and to the stored blob, whose
// holders are the repositories that show it. The stored blob has one more
// state, deleting, between the decision and the end of its object.
//
// Why no needed blob is ever lost. "Nobody holds it" cannot be a condition of a
// write: there may be any number of holders, and looking for them takes a read
// of its own, during which one may come. So:
//
//  1. Whoever adds a holder demands in the same write that the row's version is
//     the one it read, and live. It writes nothing there: pushes that share a
//     base layer do not stand in each other's way. (Large manifests add first
//     and look afterwards; see commit.go.)
//  2. Condemning changes the version. A holder added before that stays
//     unnoticed only until the second look: after it, whoever wants to add one
//     has to revive the row, which changes the version again.
//  3. The second look reads the row, then looks for holders, then removes the
//     row under the condition that its version is the one it read. If it saw no
//     holder there was none: those from before the condemning would have been
//     seen, those from after it would have changed the version.
//
// Clients see a condemned blob as absent, so none is told that a blob exists
// within less than a grace period of its end.

// condemn marks the content unneeded and puts the second look on the list. It
// returns the row's new version.
func (m *Model) condemn(ctx context.Context, it table.Item, row contentRow, t task) (string, error) {
	now := m.now()
	row.State, row.Touched = condemned, now
	next := m.item(it.Key, row, nil)
	actions := []table.Action{table.Put(next, table.IfVersion(it.Version)), m.schedule(t, now.Add(m.opts.Grace))}
	if t.key != (table.Key{}) {
		actions = append(actions, table.Delete(t.key, table.Always()))
	}
	return next.Version, m.table.Write(ctx, actions)
}

// revive makes condemned content live again and ends the task.
func (s *sweep) revive(ctx context.Context, it table.Item, row contentRow, t task) error {
	err := s.table.Write(ctx, []table.Action{
		s.keep(it.Key, row, table.IfVersion(it.Version)),
		table.Delete(t.key, table.Always()),
	})
	if err == nil {
		s.report.Revived++
	}
	return err
}

// held tells whether the content has a holder: a row of the partition whose
// sort key begins with the prefix.
func (m *Model) held(ctx context.Context, pk, prefix string) (bool, error) {
	page, err := m.table.Query(ctx, table.Range{PK: pk, Prefix: prefix, Limit: 1})
	return len(page.Items) > 0 || page.More, err
}

// judge is what both levels have in common: it moves the content one state on,
// or puts the task off or ends it. Where it returns true the content is
// condemned, its second grace period over, and nobody holds it.
func (s *sweep) judge(ctx context.Context, t task, row contentRow, it table.Item, pk, prefix string) (bool, error) {
	if end := row.Touched.Add(s.opts.Grace); s.now().Before(end) {
		return false, s.later(ctx, t, end)
	}
	isHeld, err := s.held(ctx, pk, prefix)
	switch {
	case err != nil:
		return false, err
	case isHeld && row.State == condemned:
		return false, s.revive(ctx, it, row, t)
	case isHeld:
		return false, s.done(ctx, t)
	case row.State == live:
		_, err := s.condemn(ctx, it, row, t)
		if err == nil {
			s.report.Condemned++
		}
		return false, err
	default:
		return true, nil
	}
}

// runLink looks whether a repository still needs a blob.
func (s *sweep) runLink(ctx context.Context, t task) error {
	row, it, err := get[contentRow](ctx, s.Model, linkKey(t.Repository, t.Digest), errGone)
	if errors.Is(err, errGone) {
		return s.done(ctx, t)
	}
	if err != nil {
		return err
	}
	goes, err := s.judge(ctx, t, row, it, repoPartition(t.Repository), refsTo(t.Digest))
	if err != nil || !goes {
		return err
	}
	err = s.table.Write(ctx, []table.Action{
		table.Delete(it.Key, table.IfVersion(it.Version)),
		table.Delete(holderKey(t.Digest, t.Repository), table.Always()),
		table.Delete(t.key, table.Always()),
		s.schedule(task{Kind: taskBlob, Digest: t.Digest}, s.now()),
	})
	if err == nil {
		s.report.Unlinked++
	}
	return err
}

// runBlob looks whether any repository still shows a stored blob.
func (s *sweep) runBlob(ctx context.Context, t task) error {
	row, it, err := get[contentRow](ctx, s.Model, storedKey(t.Digest), errGone)
	if errors.Is(err, errGone) {
		return s.done(ctx, t)
	}
	if err != nil {
		return err
	}
	if row.State != deleting {
		goes, err := s.judge(ctx, t, row, it, blobPartition(t.Digest), holderPrefix)
		if err != nil || !goes {
			return err
		}
		row.State, row.Touched = deleting, s.now()
		marked := s.item(it.Key, row, nil)
		if err := s.table.Write(ctx, []table.Action{table.Put(marked, table.IfVersion(it.Version))}); err != nil {
			return err
		}
		it = marked
	}
	// The task stays until the object is gone: a crash here is gone on from.
	if err := s.objects.Delete(ctx, row.Object); err != nil {
		return err
	}
	err = s.table.Write(ctx, []table.Action{
		table.Delete(it.Key, table.IfVersion(it.Version)),
		table.Delete(t.key, table.Always()),
	})
	if table.IsCondition(err) {
		return s.done(ctx, t) // uploaded again meanwhile, as another object
	}
	if err == nil {
		s.report.Deleted++
		s.report.Freed += row.Size
	}
	return err
}

// runRelease removes the edges of a manifest that is gone and puts what they
// held on the list. A manifest that came back keeps them, and so does one that
// is on its way: its own intent answers for them.
func (m *Model) runRelease(ctx context.Context, t task) error {
	gone := []table.Action{
		table.Check(manifestKey(t.Repository, t.Digest), table.IfAbsent()),
		table.Check(intentKey(t.Repository, t.Digest), table.IfAbsent()),
	}
	due := m.now().Add(m.opts.Grace)
	letGo := func(children []digest.Digest, perChild int, more func(digest.Digest) []table.Action) error {
		for chunk := range slices.Chunk(children, max(1, (m.maxActions-len(gone))/perChild)) {
			actions := slices.Clone(gone)
			for _, d := range chunk {
				actions = append(actions, table.Delete(refKey(t.Repository, d, t.Digest), table.Always()))
				actions = append(actions, more(d)...)
			}
			if err := m.table.Write(ctx, actions); err != nil {
				return err
			}
		}
		return nil
	}
	err := letGo(t.Children.Blobs, 2, func(d digest.Digest) []table.Action {
		return []table.Action{m.schedule(task{Kind: taskLink, Repository: t.Repository, Digest: d}, due)}
	})
	if err == nil {
		err = letGo(t.Children.Manifests, 1, func(digest.Digest) []table.Action { return nil })
	}
	if err != nil && !table.IsCondition(err) {
		return err
	}
	return m.done(ctx, t)
}
