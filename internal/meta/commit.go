package meta

import (
	"context"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// A manifest becomes visible in one write. Beside the manifest itself the write
// carries, for each blob, a check that the blob is still the way it was read
// and the edge that from now on protects it:
//
//	read   repository, manifest, tags, blob rows
//	write  ┌ repository unchanged (its tag immutability was obeyed)
//	       │ manifest, tags, referrer
//	       │ per blob: row unchanged, or revived   } 2 per blob
//	       └           edge blob -> manifest       }
//
// That is more than a write can carry from about 45 blobs on. Then the edges go
// first, under an intent that a task takes back if the push never ends, and the
// blobs are looked at afterwards:
//
//	write  intent and the edges, 98 to a write, each checking the intent
//	read   repository, manifest, tags, blob rows; revive the condemned ones
//	write  repository unchanged, manifest, tags, referrer, intent removed
//
// The order matters: a sweeper condemns first and looks for edges afterwards,
// a push adds edges first and looks for condemned blobs afterwards. Whichever
// comes second sees the other.

// commit is one attempt of PushManifest.
func (m *Model) commit(ctx context.Context, p Push) error {
	if 2*(len(p.children.Blobs)+len(p.children.Manifests))+m.fixedActions(p) > m.maxActions {
		return m.commitLarge(ctx, p)
	}
	s, err := m.readPush(ctx, p)
	if err != nil || s.done {
		return err
	}
	actions := s.actions
	if !s.exists {
		for _, d := range p.children.Blobs {
			actions = append(actions, s.needBlob(m, p, d), m.put(refKey(p.Repository, d, p.Digest), edge))
		}
		for _, d := range p.children.Manifests {
			if !p.AllowMissing {
				actions = append(actions, table.Check(manifestKey(p.Repository, d), s.manifests[d]))
			}
			if !p.children.hasBlob(d) { // an index can list one digest as both
				actions = append(actions, m.put(refKey(p.Repository, d, p.Digest), edge))
			}
		}
	}
	return m.table.Write(ctx, actions)
}

// needBlob demands that the blob, or the manifest in its place, is as it was
// read: there, or rightly absent. Where it is absent the edge is what protects
// it if it comes.
func (s *pushState) needBlob(m *Model, p Push, d digest.Digest) table.Action {
	if link, ok := s.links[d]; ok {
		return m.keep(linkKey(p.Repository, d), link.row, link.is)
	}
	if is, ok := s.manifests[d]; ok {
		return table.Check(manifestKey(p.Repository, d), is)
	}
	return table.Check(linkKey(p.Repository, d), table.IfAbsent())
}

// fixedActions is the most actions that a commit needs beside its edges.
func (m *Model) fixedActions(p Push) int {
	const repository, manifest, referrer, perTag = 2, 1, 1, 3
	return repository + manifest + referrer + perTag*len(p.Tags)
}

// pushState is what a push found, and the part of its write that does not
// depend on the number of blobs.
type pushState struct {
	done    bool // everything is as the push wants it
	exists  bool // the manifest is there, its edges with it
	actions []table.Action
	// What the manifest needs and was found.
	links     map[digest.Digest]linkState
	manifests map[digest.Digest]table.Condition
}

type linkState struct {
	row contentRow
	is  table.Condition
}

// readPush reads what the push depends on and decides what is to be written.
func (m *Model) readPush(ctx context.Context, p Push) (pushState, error) {
	keys := []table.Key{repoKey(p.Repository), manifestKey(p.Repository, p.Digest)}
	for _, tag := range p.Tags {
		keys = append(keys, tagKey(p.Repository, tag))
	}
	for _, d := range p.children.Blobs {
		keys = append(keys, linkKey(p.Repository, d))
	}
	if !p.AllowMissing {
		for _, d := range distinct(slices.Concat(p.children.Manifests, p.Either)) {
			keys = append(keys, manifestKey(p.Repository, d))
		}
	}
	rows, err := m.read(ctx, keys)
	if err != nil {
		return pushState{}, err
	}
	s := pushState{links: map[digest.Digest]linkState{}, manifests: map[digest.Digest]table.Condition{}}
	before, beforeIs, err := lookup[manifestRow](rows, manifestKey(p.Repository, p.Digest))
	if err != nil {
		return s, err
	}
	s.exists = before != nil
	if err := s.readChildren(rows, p); err != nil {
		return s, err
	}

	row := p.row(m.now(), s.object(p))
	k := manifestKey(p.Repository, p.Digest)
	switch {
	case !s.exists:
		s.actions = append(s.actions, table.Put(m.item(k, row, p.Body), beforeIs))
	case before.Doomed:
		row = *before
		row.Doomed = false
		s.actions = append(s.actions, table.Put(m.item(k, row, p.Body), beforeIs))
	default:
		row = *before
		s.actions = append(s.actions, table.Check(k, beforeIs))
	}
	if p.Referrer != nil && !s.exists {
		a, err := m.referrerAction(p)
		if err != nil {
			return s, err
		}
		s.actions = append(s.actions, a)
	}
	moved, err := m.moveTags(&s, rows, p, row)
	if err != nil {
		return s, err
	}
	s.done = s.exists && !moved
	return s, nil
}

// readChildren sorts what the manifest needs into what is there and a
// *MissingError. A manifest that exists needs no look: its edges hold it all.
func (s *pushState) readChildren(rows found, p Push) error {
	if s.exists {
		return nil
	}
	var missing MissingError
	for _, d := range p.children.Blobs {
		row, is, err := lookup[contentRow](rows, linkKey(p.Repository, d))
		if err != nil {
			return err
		}
		if row != nil {
			s.links[d] = linkState{*row, is}
			continue
		}
		if it, ok := rows[manifestKey(p.Repository, d)]; ok && slices.Contains(p.Either, d) {
			s.manifests[d] = table.IfVersion(it.Version)
		} else if !p.mayLack(d) {
			missing.Blobs = append(missing.Blobs, d)
		}
	}
	if !p.AllowMissing {
		for _, d := range p.children.Manifests {
			if it, ok := rows[manifestKey(p.Repository, d)]; ok {
				s.manifests[d] = table.IfVersion(it.Version)
			} else {
				missing.Manifests = append(missing.Manifests, d)
			}
		}
	}
	if len(missing.Blobs)+len(missing.Manifests) > 0 {
		return &missing
	}
	return nil
}

// object is where the bytes of a large manifest are.
func (s *pushState) object(p Push) string {
	if p.Body != nil {
		return ""
	}
	return s.links[p.Digest].row.Object
}

// moveTags adds what points the tags at the manifest, and reports whether any
// of them has to move. The repository's row is part of the write: created with
// the first manifest, and unchanged since its settings were obeyed.
func (m *Model) moveTags(s *pushState, rows found, p Push, to manifestRow) (bool, error) {
	repo, repoIs, err := lookup[repoRow](rows, repoKey(p.Repository))
	if err != nil {
		return false, err
	}
	immutable := m.opts.ImmutableTags
	if repo != nil {
		immutable = repo.ImmutableTags
		s.actions = append(s.actions, table.Check(repoKey(p.Repository), repoIs))
	} else {
		s.actions = append(s.actions, m.repositoryActions(p.Repository, m.newRepository(), repoIs)...)
	}
	moved := false
	for _, tag := range p.Tags {
		k := tagKey(p.Repository, tag)
		old, oldIs, err := lookup[manifestRow](rows, k)
		switch {
		case err != nil:
			return false, err
		case old != nil && old.Digest == p.Digest:
			s.actions = append(s.actions, table.Check(k, oldIs))
			continue
		case old != nil && immutable:
			return false, ErrTagImmutable
		}
		moved = true
		s.actions = append(s.actions, m.tagActions(p.Repository, tag, to, p.Body, old, oldIs)...)
	}
	return moved, nil
}

// commitLarge is commit for a manifest whose edges do not fit beside it.
func (m *Model) commitLarge(ctx context.Context, p Push) error {
	intent, err := m.intend(ctx, p)
	if err != nil {
		return err
	}
	s, err := m.readPush(ctx, p)
	if err != nil || s.done {
		return err // the intent's task takes the edges back where they are not wanted
	}
	var revive []table.Action
	for _, d := range p.children.Blobs {
		if link, ok := s.links[d]; ok && link.row.State != live {
			revive = append(revive, m.keep(linkKey(p.Repository, d), link.row, link.is))
		}
	}
	for chunk := range slices.Chunk(revive, m.maxActions) {
		if err := m.table.Write(ctx, chunk); err != nil {
			return err
		}
	}
	return m.table.Write(ctx, append(s.actions,
		table.Delete(intentKey(p.Repository, p.Digest), table.IfVersion(intent.version)),
		table.Delete(intent.task.key, table.Always())))
}

// intent is the right to add edges for a manifest that is not there yet.
type intent struct {
	version string
	task    task
}

type intentRow struct {
	header
	Due string `json:"due"`
}

// intend writes the edges of the manifest. Two pushes of one manifest share the
// intent: the edges are the same, and the first to commit commits for both.
func (m *Model) intend(ctx context.Context, p Push) (intent, error) {
	k := intentKey(p.Repository, p.Digest)
	t := task{Kind: taskIntent, Repository: p.Repository, Digest: p.Digest, Children: p.children}
	var edges []table.Action
	for _, d := range p.children.all() {
		edges = append(edges, m.put(refKey(p.Repository, d, p.Digest), edge))
	}
	end := m.schedule(t, m.now().Add(m.opts.Grace))
	t.key = end.Item.Key
	it := m.item(k, intentRow{header: current, Due: t.key.SK}, nil)
	in := intent{version: it.Version, task: t}

	first := min(len(edges), m.maxActions-2)
	err := m.table.Write(ctx, append([]table.Action{table.Put(it, table.IfAbsent()), end}, edges[:first]...))
	if table.IsCondition(err) {
		row, it, err := get[intentRow](ctx, m, k, errAgain)
		if err != nil {
			return in, err
		}
		in.version, in.task.key.SK, first = it.Version, row.Due, 0
	} else if err != nil {
		return in, err
	}
	for chunk := range slices.Chunk(edges[first:], m.maxActions-1) {
		check := table.Check(k, table.IfVersion(in.version))
		if err := m.table.Write(ctx, append([]table.Action{check}, chunk...)); err != nil {
			return in, err
		}
	}
	return in, nil
}

// runIntent takes back the edges of a push that never ended.
func (m *Model) runIntent(ctx context.Context, t task) error {
	row, it, err := get[intentRow](ctx, m, intentKey(t.Repository, t.Digest), errGone)
	if errors.Is(err, errGone) || (err == nil && row.Due != t.key.SK) {
		return m.done(ctx, t) // it ended well; another may have begun
	}
	if err != nil {
		return err
	}
	t2 := task{Kind: taskRelease, Repository: t.Repository, Digest: t.Digest, Children: t.Children}
	return m.table.Write(ctx, []table.Action{
		table.Delete(it.Key, table.IfVersion(it.Version)),
		table.Delete(t.key, table.Always()),
		m.schedule(t2, m.now()),
	})
}
