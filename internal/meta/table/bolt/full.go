package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
)

// ErrFull is wrapped by a Write for which the disk has no room. It did not
// happen, and the table goes on: Writes work again when there is room, and those
// that need none more, such as most deletions, work before that.
var ErrFull = errors.New("bolt: the disk is full, nothing of this write was kept; free some space, no restart is needed")

// ErrBroken is wrapped by every Write after a commit that failed for another
// reason; see [Table.Write].
var ErrBroken = errors.New("bolt: a commit failed and what the disk holds is uncertain, no more writes until the registry is restarted")

// spaceError returns ENOSPC or EDQUOT if bbolt's commit failed because the file
// could not be written or grown for lack of space or quota, and for no other
// reason; else nil.
//
// That is harmless, unlike a failed fsync. A commit writes to pages that nothing
// refers to, all of them before its first fsync of data, and only then the meta
// page that refers to them. So what is committed is untouched on disk and in
// the page cache, and no error was swallowed that a later fsync would not
// report. In memory bbolt (v1.5.0, tx.Commit) rolls back by itself: the list of
// free pages is read again from the page that the meta page names, less those
// that readers still hold; the high-water mark, the root and the transaction's
// id were a copy; the size of the file is asked anew by the next db.grow, and a
// map longer than the file is the normal state.
//
// An error of an fsync is never taken for that, not even ENOSPC, which file
// systems that allocate late report there: the kernel may then have dropped
// pages that it still shows. fdatasync's comes as a bare errno, fsync's with
// another Op, and db.grow's under another text than its ftruncate's.
func spaceError(err error) error {
	const grow = "file resize error: " // by db.grow, which keeps of the cause only the text
	var path *fs.PathError
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.As(err, &path) && path.Op == "write" && errors.Is(path.Err, cause) {
			return cause
		}
		if text := err.Error(); strings.HasPrefix(text, grow) && strings.HasSuffix(text, ": "+cause.Error()) {
			return cause
		}
	}
	return nil
}

// failed makes of the error of a commit what its callers are told: ErrFull if
// it is certain that the commit did not happen, else ErrBroken.
func (t *Table) failed(id int, err error) error {
	space := spaceError(err)
	if space == nil {
		return broken(err)
	}
	// The write that found no room can have been the meta page's own. Readers
	// see then whether it counts: cut short it is not valid, and the next
	// commit writes over the same one. But whole where it matters, it is the
	// commit that nobody believes in.
	var committed int
	if viewErr := t.db.View(func(tx *bbolt.Tx) error { committed = tx.ID(); return nil }); viewErr != nil || committed >= id {
		return broken(errors.Join(err, viewErr))
	}
	return fmt.Errorf("%w (%w): %v", ErrFull, space, err)
}

// broken does not wrap its cause: with an fsync's ENOSPC in the chain, whoever
// looks for a full disk would take it for one.
func broken(cause error) error { return fmt.Errorf("%w: %v", ErrBroken, cause) }

// Err returns why the table takes no more writes, or nil while it does. It costs
// next to nothing. A full disk is no reason.
func (t *Table) Err() error {
	if err := t.broken.Load(); err != nil {
		return *err
	}
	return nil
}
