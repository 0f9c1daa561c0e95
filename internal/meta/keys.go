package meta

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

// The rows, by partition. An arrow reads "protects": as long as the row at its
// tail is there, the one at its head stays.
//
//	repo#<name>
//	  repo                           settings
//	  tag#<tag>                      descriptor and inline bytes: one read serves a pull
//	  tagged#<digest>#<tag>          the tags of a manifest ──────────╮
//	  manifest#<digest>              bytes (or their object), children◀╯
//	  ref#<child>#<manifest> ──────╮ who needs what
//	  blob#<digest>              ◀─╯ visible here: object key, size, state
//	  referrer#<subject>#<digest>    descriptor for the referrers API
//	  intent#<digest>                a large manifest is on its way
//	tags#<name>                      <tag>: a lean list, so that a page of tags
//	                                 costs the same however large manifests are
//	uploads#<name>                   <id>: open upload sessions
//	catalog                          <name>
//	blob#<digest>
//	  in#<name> ───────────────────╮ the repositories that show it
//	  blob                       ◀─╯ the stored object: key, size, state
//	due#<shard>                      <time>#<kind>#<what>: work that falls due
const (
	catalogPartition = "catalog"
	intentPrefix     = "intent#"
	refPrefix        = "ref#"
	taggedPrefix     = "tagged#"
	referrerPrefix   = "referrer#"
	holderPrefix     = "in#"
)

func repoPartition(repo string) string         { return "repo#" + repo }
func blobPartition(d digest.Digest) string     { return "blob#" + d.String() }
func tagListPartition(repo string) string      { return "tags#" + repo }
func uploadPartition(repo string) string       { return "uploads#" + repo }
func refsTo(child digest.Digest) string        { return refPrefix + child.String() + "#" }
func tagsOf(manifest digest.Digest) string     { return taggedPrefix + manifest.String() + "#" }
func referrersTo(subject digest.Digest) string { return referrerPrefix + subject.String() + "#" }
func catalogKey(repo string) table.Key         { return table.Key{PK: catalogPartition, SK: repo} }
func repoKey(repo string) table.Key            { return table.Key{PK: repoPartition(repo), SK: "repo"} }
func tagListKey(repo, tag string) table.Key    { return table.Key{PK: tagListPartition(repo), SK: tag} }
func uploadKey(repo, id string) table.Key      { return table.Key{PK: uploadPartition(repo), SK: id} }
func storedKey(d digest.Digest) table.Key      { return table.Key{PK: blobPartition(d), SK: "blob"} }
func tagKey(repo, tag string) table.Key        { return table.Key{PK: repoPartition(repo), SK: "tag#" + tag} }
func holderKey(d digest.Digest, r string) table.Key {
	return table.Key{PK: blobPartition(d), SK: holderPrefix + r}
}
func taggedKey(repo string, d digest.Digest, tag string) table.Key {
	return table.Key{PK: repoPartition(repo), SK: tagsOf(d) + tag}
}
func manifestKey(repo string, d digest.Digest) table.Key {
	return table.Key{PK: repoPartition(repo), SK: "manifest#" + d.String()}
}
func intentKey(repo string, d digest.Digest) table.Key {
	return table.Key{PK: repoPartition(repo), SK: intentPrefix + d.String()}
}
func linkKey(repo string, d digest.Digest) table.Key {
	return table.Key{PK: repoPartition(repo), SK: "blob#" + d.String()}
}
func refKey(repo string, child, manifest digest.Digest) table.Key {
	return table.Key{PK: repoPartition(repo), SK: refsTo(child) + manifest.String()}
}
func referrerKey(repo string, subject, d digest.Digest) table.Key {
	return table.Key{PK: repoPartition(repo), SK: referrersTo(subject) + d.String()}
}

// rowFormat is written into every row. A later format gets the next number,
// and its reader accepts this one too: there are no migrations.
const rowFormat = 1

type header struct {
	Format int `json:"v"`
}

var current = header{Format: rowFormat}

// state of a row that garbage collection is about; see collect.go.
type state string

const (
	live      state = ""
	condemned state = "condemned"
	deleting  state = "deleting"
)

type (
	repoRow struct {
		header
		Created       time.Time `json:"created"`
		ImmutableTags bool      `json:"immutableTags,omitempty"`
	}
	// manifestRow is the value of manifest and tag rows; the bytes, where they
	// are inline, are the item's Body.
	manifestRow struct {
		header
		Digest    digest.Digest `json:"digest"`
		MediaType string        `json:"mediaType"`
		Size      int64         `json:"size"`
		Object    string        `json:"object,omitempty"` // where the bytes are if not inline
		Subject   digest.Digest `json:"subject,omitempty"`
		Pushed    time.Time     `json:"pushed"`
		// Only in manifest rows: what the manifest holds on to, for its deletion.
		Children children `json:"children,omitzero"`
		// Doomed says that a deletion is looking for the manifest's tags: who
		// sets one has to take this back. Readers do not care.
		Doomed bool `json:"doomed,omitempty"`
	}
	// children are the edges that a manifest has in its repository.
	children struct {
		Blobs     []digest.Digest `json:"blobs,omitempty"`
		Manifests []digest.Digest `json:"manifests,omitempty"`
	}
	// contentRow is the value of a repository's blob row and of the stored blob.
	contentRow struct {
		header
		Object string `json:"object"`
		Size   int64  `json:"size"`
		State  state  `json:"state,omitempty"`
		// Touched is when the row came to be or changed its state: the grace
		// period runs from here.
		Touched time.Time `json:"touched"`
	}
	uploadRow struct {
		header
		Started time.Time   `json:"started"`
		Due     string      `json:"due"` // sort key of the task that ends it
		Content blob.Upload `json:"content"`
	}
	referrerRow struct {
		header
		Descriptor json.RawMessage `json:"descriptor"`
	}
	// edgeRow is a row whose key says everything.
	edgeRow struct{ header }
)

var edge = edgeRow{current}

// all returns the children of both kinds, each once.
func (c children) all() []digest.Digest { return distinct(slices.Concat(c.Blobs, c.Manifests)) }

// hasManifest tells whether the digest is among the manifests, which are sorted.
func (c children) hasManifest(d digest.Digest) bool {
	_, has := slices.BinarySearch(c.Manifests, d)
	return has
}

// hasBlob tells whether the digest is among the blobs, which are sorted.
func (c children) hasBlob(d digest.Digest) bool {
	_, has := slices.BinarySearch(c.Blobs, d)
	return has
}

// item makes a row with a version of its own.
func (m *Model) item(k table.Key, row any, body []byte) table.Item {
	value, err := json.Marshal(row)
	if err != nil {
		// Rows are structs of strings, numbers and times of ours.
		panic(fmt.Sprintf("meta: encode row %s: %v", k, err))
	}
	return table.Item{Key: k, Version: m.newID(), Value: value, Body: body}
}

// put is an unconditional write of a row that only has to be there.
func (m *Model) put(k table.Key, row any) table.Action {
	return table.Put(m.item(k, row, nil), table.Always())
}

// rowOf decodes the value of an item.
func rowOf[R any](it table.Item) (R, error) {
	var row R
	if err := json.Unmarshal(it.Value, &row); err != nil {
		return row, fmt.Errorf("decode row %s: %w", it.Key, err)
	}
	return row, nil
}

// get reads one row. A missing one is notFound.
func get[R any](ctx context.Context, m *Model, k table.Key, notFound error) (R, table.Item, error) {
	it, err := m.table.Get(ctx, k)
	if err != nil {
		var none R
		if isNotFound(err) {
			err = notFound
		}
		return none, it, err
	}
	row, err := rowOf[R](it)
	return row, it, err
}

// found is the outcome of one batch of reads.
type found map[table.Key]table.Item

// read gets many rows in as few calls as there are hundreds of keys.
func (m *Model) read(ctx context.Context, keys []table.Key) (found, error) {
	rows := make(found, len(keys))
	for chunk := range slices.Chunk(keys, table.MaxBatchGet) {
		items, err := m.table.BatchGet(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			rows[it.Key] = it
		}
	}
	return rows, nil
}

// lookup decodes one of the rows found; nil where it was not there.
func lookup[R any](rows found, k table.Key) (*R, table.Condition, error) {
	it, ok := rows[k]
	if !ok {
		return nil, table.IfAbsent(), nil
	}
	row, err := rowOf[R](it)
	if err != nil {
		return nil, table.Condition{}, err
	}
	return &row, table.IfVersion(it.Version), nil
}
