package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/slipway-oci/slipway/internal/blob"
)

// Append writes behind the bytes that the upload has and hashes on the way.
// What an earlier try left behind them is cut off first.
//
// When ctx ends it returns the state so far, as for a failing r; a Read of r
// that blocks is not interrupted. When the disk fails it returns the given
// state and an error that wraps the system's, ENOSPC for one.
func (s *Store) Append(ctx context.Context, up blob.Upload, r io.Reader, limit int64) (blob.Upload, error) {
	next, err := s.append(ctx, up, r, limit)
	if err != nil {
		return next, fmt.Errorf("disk: append %s: %w", up.Key, err)
	}
	return next, nil
}

func (s *Store) append(ctx context.Context, up blob.Upload, r io.Reader, limit int64) (blob.Upload, error) {
	if err := ctx.Err(); err != nil {
		return up, err
	}
	if up.Size > limit {
		return up, blob.ErrTooLarge
	}
	run, err := s.resume(up)
	if err != nil {
		return up, err
	}
	if !s.trusted(run) {
		run.writer = instance{} // from here on, several wrote it
	}
	f, err := s.openUpload(up)
	if err != nil {
		return up, err
	}
	size, err := s.pour(ctx, f, up.Size, r, limit, run.hash)
	// An interruption keeps what came; any other error takes it back, so that
	// a full disk does not stay full until the upload is aborted.
	interrupted := err != nil && (errors.As(err, new(*blob.SourceError)) || ctx.Err() != nil && errors.Is(err, ctx.Err()))
	if err != nil && !interrupted {
		f.Truncate(up.Size) // the next Append or Complete does it otherwise
	}
	if cerr := f.Close(); cerr != nil && (err == nil || interrupted) {
		return up, cerr // some file systems report a failed write only here
	}
	if err != nil && !interrupted {
		return up, err
	}
	next, serr := advance(up, run, size)
	if serr != nil {
		return up, serr
	}
	return next, err
}

// openUpload opens the upload's file, exactly up.Size bytes long.
func (s *Store) openUpload(up blob.Upload) (*os.File, error) {
	shard, path, err := s.place(up.Key)
	if err != nil {
		return nil, err
	}
	var f *os.File
	if up.Size == 0 {
		f, err = s.create(shard, path)
	} else {
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if up.Size > 0 && errors.Is(err, fs.ErrNotExist) {
		return nil, blob.ErrLost
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.Size() < up.Size:
		err = blob.ErrLost
	case info.Size() > up.Size:
		err = f.Truncate(up.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// pour copies r to the file from the offset on and to the hash, and returns the
// offset behind the last byte that both have.
//
// Hashing stays in this goroutine. In one of its own it was measured to gain
// nothing that stands out for 100 MiB on 2 cores, and to lose with 4 writers.
func (s *Store) pour(ctx context.Context, f *os.File, offset int64, r io.Reader, limit int64, hash io.Writer) (int64, error) {
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	for flushed := offset; ; {
		n, rerr := fill(ctx, r, *buf)
		if int64(n) > limit-offset {
			return offset, blob.ErrTooLarge
		}
		if n > 0 {
			if _, err := f.WriteAt((*buf)[:n], offset); err != nil {
				return offset, err
			}
			hash.Write((*buf)[:n])
			offset += int64(n)
		}
		if !s.noSync && offset-flushed >= writeBackStep {
			startWriteBack(f, flushed, offset-flushed)
			flushed = offset
		}
		if rerr == io.EOF {
			return offset, nil
		}
		if rerr != nil {
			return offset, rerr
		}
	}
}

// fill reads until the buffer is full, so that the many small reads of a
// network connection become few writes. The error of r comes as a SourceError.
func fill(ctx context.Context, r io.Reader, buf []byte) (int, error) {
	n, idle := 0, 0
	for n < len(buf) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF {
			return n, io.EOF
		}
		if err != nil {
			return n, &blob.SourceError{Err: err}
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle == 100 {
			return n, &blob.SourceError{Err: io.ErrNoProgress}
		}
	}
	return n, nil
}
