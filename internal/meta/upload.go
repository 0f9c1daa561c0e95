package meta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Upload is a session in which a client uploads one blob to a repository.
type Upload struct {
	Repository string
	ID         string // 26 lower-case letters and digits, not to be guessed
	Started    time.Time
	// Content is where its bytes are and how many; the object's key is the id.
	Content blob.Upload

	version string
	due     string
}

func (u Upload) key() table.Key { return uploadKey(u.Repository, u.ID) }

// expiry is the task that ends the session in the end.
func (u Upload) expiry() task {
	return task{Kind: taskUpload, Repository: u.Repository, Upload: u.ID}
}

// row is what is kept of the session.
func (u Upload) row() uploadRow {
	return uploadRow{header: current, Started: u.Started, Due: u.due, Content: u.Content}
}

// StartUpload opens a session whose bytes are hashed with the algorithm as they
// come in. ErrTooManyUploads where the repository has its most already. One
// read and one write; nothing in the blob store.
func (m *Model) StartUpload(ctx context.Context, repo string, algorithm digest.Algorithm) (Upload, error) {
	if err := m.countUploads(ctx, repo); err != nil {
		return Upload{}, fmt.Errorf("start upload to %s: %w", repo, err)
	}
	now, id := m.now(), m.newID()
	up := Upload{Repository: repo, ID: id, Started: now, Content: blob.Upload{Key: id, Algorithm: algorithm}}
	end := m.schedule(up.expiry(), now.Add(m.opts.UploadAge))
	up.due = end.Item.SK
	it := m.item(up.key(), up.row(), nil)
	up.version = it.Version
	if err := m.table.Write(ctx, []table.Action{table.Put(it, table.IfAbsent()), end}); err != nil {
		return Upload{}, fmt.Errorf("start upload to %s: %w", repo, err)
	}
	return up, nil
}

// countUploads refuses one more session where the repository has its most.
func (m *Model) countUploads(ctx context.Context, repo string) error {
	open := 0
	for after := ""; ; {
		page, err := m.table.Query(ctx, table.Range{PK: uploadPartition(repo), After: after, Limit: m.opts.MaxUploads - open})
		if err != nil {
			return err
		}
		if open += len(page.Items); open >= m.opts.MaxUploads {
			return ErrTooManyUploads
		}
		if !page.More {
			return nil
		}
		after = page.Last
	}
}

// Upload returns the session as it was last saved, or ErrUploadUnknown when
// there is none, it has ended, or its time is up.
func (m *Model) Upload(ctx context.Context, repo, id string) (Upload, error) {
	row, it, err := get[uploadRow](ctx, m, uploadKey(repo, id), ErrUploadUnknown)
	if err == nil && row.Started.Add(m.opts.UploadAge).Before(m.now()) {
		err = ErrUploadUnknown
	}
	if err != nil {
		return Upload{}, fmt.Errorf("upload %s to %s: %w", id, repo, err)
	}
	return Upload{Repository: repo, ID: id, Started: row.Started, Content: row.Content, version: it.Version, due: row.Due}, nil
}

// SaveUpload keeps the new state of the session's content and returns the
// session to go on with. ErrUploadConflict if somebody else saved since it was
// read, ErrUploadUnknown if it ended: the caller aborts the content then.
func (m *Model) SaveUpload(ctx context.Context, up Upload) (Upload, error) {
	it := m.item(up.key(), up.row(), nil)
	err := m.table.Write(ctx, []table.Action{table.Put(it, table.IfVersion(up.version))})
	if err != nil {
		return Upload{}, fmt.Errorf("save upload %s to %s: %w", up.ID, up.Repository, m.lostUpload(ctx, up, err))
	}
	up.version = it.Version
	return up, nil
}

// lostUpload says what became of a session whose version was not as expected.
func (m *Model) lostUpload(ctx context.Context, up Upload, err error) error {
	if !table.IsCondition(err) {
		return err
	}
	if _, err := m.table.Get(ctx, up.key()); isNotFound(err) {
		return ErrUploadUnknown
	}
	return ErrUploadConflict
}

// endUpload removes the session and its place on the due list.
func (m *Model) endUpload(up Upload) []table.Action {
	return []table.Action{
		table.Delete(up.key(), table.IfVersion(up.version)),
		table.Delete(table.Key{PK: up.expiry().partition(), SK: up.due}, table.Always()),
	}
}

// CancelUpload ends the session; the sweeper removes its bytes.
func (m *Model) CancelUpload(ctx context.Context, up Upload) error {
	actions := append(m.endUpload(up), m.discard(up.Content))
	if err := m.table.Write(ctx, actions); err != nil {
		return fmt.Errorf("cancel upload %s to %s: %w", up.ID, up.Repository, m.lostUpload(ctx, up, err))
	}
	return nil
}

// CommitUpload makes the content visible in the repository as the blob d and
// ends the session, in one read and one write. The blob store has verified the
// content against d and made it durable (blob.Store.Complete) before.
//
// Where the registry has the blob already, the bytes there stay the ones used
// and those just uploaded are queued for removal. Repeating it after it
// succeeded is fine as long as the blob is there; ErrUploadUnknown and
// ErrUploadConflict are as in SaveUpload.
func (m *Model) CommitUpload(ctx context.Context, up Upload, d digest.Digest) (Blob, error) {
	var result Blob
	err := attempt(fmt.Sprintf("commit upload %s to %s", up.ID, up.Repository), func() error {
		rows, err := m.read(ctx, []table.Key{up.key(), linkKey(up.Repository, d), storedKey(d)})
		if err != nil {
			return err
		}
		link, linkIs, err1 := lookup[contentRow](rows, linkKey(up.Repository, d))
		stored, storedIs, err2 := lookup[contentRow](rows, storedKey(d))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		session, open := rows[up.key()]
		switch {
		case !open && link != nil && link.State == live:
			// An earlier try of this commit got through.
			result = Blob{Digest: d, Size: link.Size, Key: link.Object}
			return nil
		case !open:
			return ErrUploadUnknown
		case session.Version != up.version:
			return ErrUploadConflict
		}

		actions := m.endUpload(up)
		mine := contentRow{header: current, Object: up.Content.Key, Size: up.Content.Size, Touched: m.now()}
		switch {
		case stored == nil:
			stored = &mine
			actions = append(actions, table.Put(m.item(storedKey(d), mine, nil), storedIs))
		case stored.State == deleting:
			// Its object is as good as gone. Whoever was deleting it may have
			// stopped half-way and will not find this row again.
			actions = append(actions, m.discard(blob.Upload{Key: stored.Object, Size: stored.Size}))
			stored = &mine
			actions = append(actions, table.Put(m.item(storedKey(d), mine, nil), storedIs))
		default:
			actions = append(actions, m.keep(storedKey(d), *stored, storedIs), m.discard(up.Content))
		}
		if link != nil && link.State == live {
			actions = append(actions, table.Check(linkKey(up.Repository, d), linkIs))
		} else {
			actions = append(actions, m.show(up.Repository, d, *stored, linkIs)...)
		}
		if err := m.table.Write(ctx, actions); err != nil {
			return err
		}
		result = Blob{Digest: d, Size: stored.Size, Key: stored.Object}
		return nil
	})
	return result, err
}
