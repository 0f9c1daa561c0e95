package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

// dueShards spreads the due list over partitions: each takes about a thousand
// writes a second on DynamoDB. Changing it strands what is on the list.
const dueShards = 8

type taskKind string

const (
	taskUpload  taskKind = "upload"  // end a session whose time is up
	taskDiscard taskKind = "discard" // delete an object that no row names
	taskIntent  taskKind = "intent"  // take back the edges of an abandoned push
	taskRelease taskKind = "release" // remove the edges of a deleted manifest
	taskLink    taskKind = "link"    // is a repository's blob still needed?
	taskBlob    taskKind = "blob"    // is a stored blob still shown anywhere?
)

// task is work on the due list. Every task may run twice, or late, or beside
// itself: it looks at the rows and does what they ask for.
type task struct {
	header
	Kind       taskKind      `json:"kind"`
	Repository string        `json:"repository,omitempty"`
	Digest     digest.Digest `json:"digest,omitempty"`
	Upload     string        `json:"upload,omitempty"`
	Content    *blob.Upload  `json:"content,omitempty"`
	Children   children      `json:"children,omitzero"`

	key table.Key
}

// what the task is about.
func (t task) what() string {
	switch t.Kind {
	case taskUpload:
		return t.Repository + "#" + t.Upload
	case taskDiscard:
		return t.Content.Key
	default:
		return t.Repository + "#" + t.Digest.String()
	}
}

func (t task) partition() string {
	h := fnv.New32a()
	h.Write([]byte(t.what()))
	return duePartition(int(h.Sum32() % dueShards))
}

func duePartition(shard int) string { return "due#" + strconv.Itoa(shard) }

// dueTime is a time as the due list sorts it: fixed width, to the millisecond.
func dueTime(t time.Time) string { return t.UTC().Format("20060102T150405.000Z") }

// schedule puts the task on the due list, as a row of its own: ending a task
// must not take away the same task that somebody scheduled for the same moment.
func (m *Model) schedule(t task, at time.Time) table.Action {
	t.header = current
	sk := dueTime(at) + "#" + string(t.Kind) + "#" + t.what() + "#" + m.newID()
	return m.put(table.Key{PK: t.partition(), SK: sk}, t)
}

// later moves the task to another time.
func (m *Model) later(ctx context.Context, t task, at time.Time) error {
	return m.table.Write(ctx, []table.Action{m.schedule(t, at), table.Delete(t.key, table.Always())})
}

// discard puts content whose session ends on the list of what is to be deleted.
func (m *Model) discard(content blob.Upload) table.Action {
	return m.schedule(task{Kind: taskDiscard, Content: &content}, m.now())
}

// done takes the task off the list.
func (m *Model) done(ctx context.Context, t task) error {
	return m.table.Write(ctx, []table.Action{table.Delete(t.key, table.Always())})
}

// errGone says that the row a task is about is no longer there.
var errGone = errors.New("meta: nothing left to do")

// Objects is the part of the blob store that the sweeper needs.
type Objects interface {
	// Abort removes what an upload left, its completed object included.
	Abort(ctx context.Context, up blob.Upload) error
	// Delete removes an object.
	Delete(ctx context.Context, key string) error
}

// SweepReport counts what a Sweep did.
type SweepReport struct {
	Tasks     int   // tasks looked at
	Uploads   int   // upload sessions ended because their time was up
	Condemned int   // blobs found unneeded, in a repository or as a whole
	Revived   int   // condemned blobs found needed after all
	Unlinked  int   // blobs that are gone from a repository
	Deleted   int   // objects deleted: blobs and what abandoned uploads left
	Freed     int64 // bytes of the blobs among them
}

// Add adds other to the report.
func (r *SweepReport) Add(other SweepReport) {
	r.Tasks += other.Tasks
	r.Uploads += other.Uploads
	r.Condemned += other.Condemned
	r.Revived += other.Revived
	r.Unlinked += other.Unlinked
	r.Deleted += other.Deleted
	r.Freed += other.Freed
}

// Sweep works off the tasks that have fallen due, one after the other. It may
// run beside requests and beside other sweeps, and be killed at any moment. A
// task that fails stays on the list; Sweep goes on with the others and returns
// all errors joined.
func (m *Model) Sweep(ctx context.Context, objects Objects) (SweepReport, error) {
	s := &sweep{Model: m, objects: objects}
	until := dueTime(m.now().Add(time.Millisecond))
	var errs []error
	for shard := range dueShards {
		if err := s.shard(ctx, duePartition(shard), until, &errs); err != nil {
			return s.report, errors.Join(append(errs, fmt.Errorf("sweep: %w", err))...)
		}
	}
	return s.report, errors.Join(errs...)
}

// sweep is one run of Sweep.
type sweep struct {
	*Model
	objects Objects
	report  SweepReport
}

// shard works off one partition. Failed tasks are added to errs; the error that
// it returns ends the sweep.
func (s *sweep) shard(ctx context.Context, pk, until string, errs *[]error) error {
	const perRead = 100
	for after := ""; ; {
		page, err := s.table.Query(ctx, table.Range{PK: pk, After: after, Before: until, Limit: perRead})
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			var t task
			if err := json.Unmarshal(it.Value, &t); err != nil {
				*errs = append(*errs, fmt.Errorf("sweep: decode %s: %w", it.Key, err))
				continue
			}
			t.key = it.Key
			s.report.Tasks++
			op := fmt.Sprintf("sweep %s %s", t.Kind, t.what())
			if err := attempt(op, func() error { return s.run(ctx, t) }); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				*errs = append(*errs, err)
			}
		}
		if !page.More {
			return nil
		}
		after = page.Last
	}
}

func (s *sweep) run(ctx context.Context, t task) error {
	switch t.Kind {
	case taskUpload:
		return s.runUpload(ctx, t)
	case taskDiscard:
		return s.runDiscard(ctx, t)
	case taskIntent:
		return s.runIntent(ctx, t)
	case taskRelease:
		return s.runRelease(ctx, t)
	case taskLink:
		return s.runLink(ctx, t)
	case taskBlob:
		return s.runBlob(ctx, t)
	default:
		// A newer version wrote it; it will know what to do.
		return fmt.Errorf("unknown kind of task %q", t.Kind)
	}
}

// runUpload ends a session whose time is up.
func (s *sweep) runUpload(ctx context.Context, t task) error {
	row, it, err := get[uploadRow](ctx, s.Model, uploadKey(t.Repository, t.Upload), errGone)
	if errors.Is(err, errGone) {
		return s.done(ctx, t)
	}
	if err != nil {
		return err
	}
	err = s.table.Write(ctx, []table.Action{
		table.Delete(it.Key, table.IfVersion(it.Version)),
		table.Delete(t.key, table.Always()),
		// Not at once: a request may be writing to it this moment, and would
		// leave a file behind that nobody knows.
		s.schedule(task{Kind: taskDiscard, Content: &row.Content}, s.now().Add(s.opts.Grace)),
	})
	if err == nil {
		s.report.Uploads++
	}
	return err
}

// runDiscard deletes content that no row names and none ever will.
func (s *sweep) runDiscard(ctx context.Context, t task) error {
	if err := s.objects.Abort(ctx, *t.Content); err != nil {
		return err
	}
	s.report.Deleted++
	return s.done(ctx, t)
}
