// Package bolt is the embedded engine of the table contract: one file, one
// process, the B+tree of go.etcd.io/bbolt.
//
// Reads run side by side on snapshots of the file. Writes go through one
// goroutine that commits all that have queued up together, so that the price
// of a commit, waiting for the disk, is shared by everybody who waits:
//
//	Write ─┐                      ┌─ conditions of 1, then its changes
//	Write ─┼─► queue ─► writer ───┼─ conditions of 2, then its changes   one
//	Write ─┘     ▲                └─ …                                 bbolt
//	             │                   commit, fsync                  transaction
//	Write ───────┘ gathers meanwhile
//
// Nothing waits on purpose: a lone Write is committed at once.
package bolt

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/slipway-oci/slipway/internal/durable"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("bolt: table is closed")

// lockTimeout is how long Open waits for another process to let go of the
// file: long enough for one that is just shutting down.
const lockTimeout = time.Second

// bucketName is the one bucket that holds all items.
var bucketName = []byte("items")

// Options of Open. The zero Options are right for a server.
type Options struct {
	// NoSync skips waiting for the disk, which breaks the promise that a Write
	// is durable. It is for tests that write much and crash never.
	NoSync bool
}

// Table is a table.Table in a bbolt file. Make one with [Open].
type Table struct {
	db *bbolt.DB
	// update is db.Update, or what a test of failing commits puts there.
	update func(func(*bbolt.Tx) error) error

	mu     sync.Mutex
	queue  []*request    // in the order of arrival
	closed bool          // no more requests are taken
	wake   chan struct{} // holds a token while the writer has something to look at
	done   chan struct{} // closed when the writer has ended

	closeOnce sync.Once
	closeErr  error

	broken          atomic.Pointer[error] // set once, by the writer
	writes, commits atomic.Uint64
}

var _ table.Table = (*Table)(nil)

// Open opens the table in the file at path and creates the file, readable by
// its owner only, where there is none. Its directory must exist. A file that
// another process has open is an error after a second.
//
// Opening costs the same whatever the file holds.
func Open(path string, opts Options) (*Table, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout,
		NoSync:  opts.NoSync,
		// The list of free pages is written with every commit, and read by
		// Open. Without it, Open would walk the whole tree to find out which
		// pages are free. As a map it finds runs of pages without searching.
		NoFreelistSync: false,
		FreelistType:   bbolt.FreelistMapType,
		// bbolt's own statistics take a lock on every read.
		NoStatistics: true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("bolt: open %s: the file is in use by another process: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	if err := prepare(db, path, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("bolt: open %s: %w", path, err), db.Close())
	}
	t := &Table{
		db:     db,
		update: db.Update,
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	go t.writer()
	return t, nil
}

// prepare makes the bucket in a new file.
func prepare(db *bbolt.DB, path string, opts Options) error {
	var ready bool
	err := db.View(func(tx *bbolt.Tx) error {
		ready = tx.Bucket(bucketName) != nil
		return nil
	})
	if err != nil || ready {
		return err
	}
	if !opts.NoSync {
		// bbolt syncs the file and not its directory entry: without this, a
		// crash of the machine could take the whole new file. It comes ahead
		// of the bucket, so that an Open that got no further does it again.
		if err := durable.SyncDir(filepath.Dir(path)); err != nil {
			return fmt.Errorf("sync the directory: %w", err)
		}
	}
	return db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketName)
		return err
	})
}

// Stats says what the writer has done since Open.
type Stats struct {
	Writes  uint64 // Writes answered with success or a ConditionError
	Commits uint64 // bbolt transactions that this took
}

// Stats returns the counts so far. Writes far above Commits is group commit at
// work.
func (t *Table) Stats() Stats {
	return Stats{Writes: t.writes.Load(), Commits: t.commits.Load()}
}

// Close waits for the Writes that are queued and for the reads that run, and
// lets go of the file. Further Closes return what the first one did.
func (t *Table) Close() error {
	t.closeOnce.Do(func() {
		t.mu.Lock()
		t.closed = true
		t.mu.Unlock()
		t.poke()
		<-t.done
		if err := t.db.Close(); err != nil {
			t.closeErr = fmt.Errorf("bolt: close: %w", err)
		}
	})
	return t.closeErr
}
