// Package table is the ordered key-value contract under Slipway's metadata.
//
// A Table is what DynamoDB and an embedded B+tree have in common, and nothing
// more: items addressed by a partition key and a sort key, ordered inside a
// partition by the bytes of the sort key.
//
//	partition "repo#team/app"          partition "catalog"
//	┌──────────────────────────────┐   ┌────────────┐
//	│ blob#sha256:aa…              │   │ team/app   │
//	│ blob#sha256:bb…              │   │ team/web   │
//	│ manifest#sha256:cc…          │   └────────────┘
//	│ tag#v1                       │
//	└──────────────────────────────┘
//	   ↑ Query reads a run of these, in this order
//
// The contract that every engine keeps, and that package tabletest proves:
//
//   - Reads are strongly consistent: they see every Write that was
//     acknowledged before they began. A Query is not a snapshot: an item that
//     changes while it runs may be seen before or after the change.
//   - A Write is atomic and isolated from other Writes: all conditions hold at
//     one moment and all changes happen at that moment, or nothing happens.
//   - A Write that returned nil is durable: it survives a crash of the process
//     and of the machine. One that returned an error other than
//     [ConditionError] or [ErrLimit] may have happened or not.
//   - The limits below hold on every engine, the embedded one included, so
//     that what runs on a laptop runs on DynamoDB.
package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The limits of one item and one call. They are DynamoDB's, rounded down to
// leave room for what the engine adds.
const (
	// MaxActions is the most actions in one Write
	// (DynamoDB TransactWriteItems: 100).
	MaxActions = 100
	// MaxWriteBytes bounds the items of one Write together
	// (DynamoDB TransactWriteItems: 4 MB).
	MaxWriteBytes = 4_000_000
	// MaxItemBytes bounds one item, keys and contents together
	// (DynamoDB: 400 KB).
	MaxItemBytes = 390_000
	// MaxKeyBytes bounds each of the two keys
	// (DynamoDB: 2,048 bytes of partition key, 1,024 of sort key).
	MaxKeyBytes = 1_024
	// MaxBatchGet is the most keys in one BatchGet
	// (DynamoDB BatchGetItem: 100).
	MaxBatchGet = 100
)

var (
	// ErrNotFound says that Get found no item under the key.
	ErrNotFound = errors.New("table: no such item")
	// ErrLimit says that a call breaks one of the limits of this package. It
	// is a bug or an unchecked input of the caller; trying again cannot help.
	ErrLimit = errors.New("table: over a limit")
)

// Key addresses one item. Both parts are non-empty UTF-8 without NUL.
type Key struct {
	PK string // partition key
	SK string // sort key, ordered by its bytes inside the partition
}

func (k Key) String() string { return k.PK + "/" + k.SK }

// Item is one row. Its contents are opaque to the engine.
type Item struct {
	Key
	// Version is chosen by the writer, different for every write that matters
	// to somebody's condition; see [IfVersion]. Never empty.
	Version string
	// Value is the row itself, small structured data (JSON).
	Value []byte
	// Body is a document that rides along byte for byte (a manifest). May be
	// empty.
	Body []byte
}

// Size is what the item counts towards MaxItemBytes and MaxWriteBytes.
func (it Item) Size() int {
	return len(it.PK) + len(it.SK) + len(it.Version) + len(it.Value) + len(it.Body)
}

// Condition is what must hold of one item for a Write to happen.
// The zero Condition always holds.
type Condition struct {
	Kind    ConditionKind
	Version string // for ConditionVersion
}

// ConditionKind is the kind of a Condition.
type ConditionKind uint8

// The kinds of Condition.
const (
	ConditionNone    ConditionKind = iota // always holds
	ConditionAbsent                       // there is no item under the key
	ConditionPresent                      // there is an item, whatever its version
	ConditionVersion                      // the item is there and carries the version
)

// Always is the condition that holds of anything.
func Always() Condition { return Condition{} }

// IfAbsent holds when there is no item under the key.
func IfAbsent() Condition { return Condition{Kind: ConditionAbsent} }

// IfPresent holds when there is an item under the key, whatever its version.
func IfPresent() Condition { return Condition{Kind: ConditionPresent} }

// IfVersion holds when the item is there and carries this version.
func IfVersion(v string) Condition { return Condition{Kind: ConditionVersion, Version: v} }

// Holds reports whether the condition holds of what is stored under the key:
// whether there is an item, and its version. Engines that evaluate conditions
// themselves use it.
func (c Condition) Holds(present bool, version string) bool {
	switch c.Kind {
	case ConditionAbsent:
		return !present
	case ConditionPresent:
		return present
	case ConditionVersion:
		return present && version == c.Version
	default:
		return true
	}
}

// Action is one part of a Write: make one with [Put], [Delete] or [Check].
type Action struct {
	Kind ActionKind
	Item Item // Put: the item; Delete and Check: only its Key
	If   Condition
}

// ActionKind says what an Action does when every condition of its Write holds.
type ActionKind uint8

// The kinds of Action.
const (
	ActionPut    ActionKind = iota // replace the item as a whole, or create it
	ActionDelete                   // remove the item; no error where there is none
	ActionCheck                    // change nothing, only demand the condition
)

// Put stores the item if the condition holds.
func Put(it Item, c Condition) Action { return Action{Kind: ActionPut, Item: it, If: c} }

// Delete removes the item under the key if the condition holds.
func Delete(k Key, c Condition) Action {
	return Action{Kind: ActionDelete, Item: Item{Key: k}, If: c}
}

// Check only demands that the condition holds.
func Check(k Key, c Condition) Action {
	return Action{Kind: ActionCheck, Item: Item{Key: k}, If: c}
}

// ConditionError says that a Write did not happen because conditions failed.
type ConditionError struct {
	Failed []Key // the keys whose conditions failed, at least one
}

func (e *ConditionError) Error() string {
	return fmt.Sprintf("table: condition failed on %v", e.Failed)
}

// IsCondition reports whether err says that a Write was refused by a condition
// and so certainly did not happen.
func IsCondition(err error) bool {
	var ce *ConditionError
	return errors.As(err, &ce)
}

// Range selects a run of sort keys inside one partition. Its strings keep the
// rules of keys, except that the three bounds may be empty.
type Range struct {
	PK string
	// Prefix, where not empty, keeps only sort keys that begin with it.
	Prefix string
	// After, where not empty, keeps only sort keys greater than it.
	After string
	// Before, where not empty, keeps only sort keys less than it.
	Before string
	// Limit is the most items to return, at least 1.
	Limit int
}

// Page is a run of items in ascending order of their sort keys.
type Page struct {
	Items []Item
	// More says that further items may follow the last one: go on with After
	// set to its sort key (or to Last where the page is empty).
	More bool
	// Last is where the engine stopped reading: the After of the next Query.
	Last string
}

// Table is the contract; see the package comment.
//
// Implementations are safe for concurrent use. Items and slices that were
// returned belong to the caller; those passed in are not kept.
type Table interface {
	// Get returns the item under the key, or ErrNotFound.
	Get(ctx context.Context, key Key) (Item, error)

	// BatchGet returns the items found under up to MaxBatchGet keys, in any
	// order; keys without an item are left out. Duplicate keys are refused
	// with ErrLimit. The items are not read at one moment.
	BatchGet(ctx context.Context, keys []Key) ([]Item, error)

	// Query returns a page of a partition. It may return fewer items than
	// Limit and still report More (DynamoDB stops at 1 MB).
	Query(ctx context.Context, r Range) (Page, error)

	// Write performs up to MaxActions actions on different keys atomically.
	// It returns a *ConditionError naming every failed condition where the
	// engine knows them, and changes nothing then.
	Write(ctx context.Context, actions []Action) error

	// Close releases what the engine holds. No call may follow it.
	Close() error
}

// ValidateWrite returns an error wrapping ErrLimit if the actions break the
// contract. Every engine calls it first.
func ValidateWrite(actions []Action) error {
	if len(actions) == 0 || len(actions) > MaxActions {
		return fmt.Errorf("%w: %d actions in one write, want 1 to %d", ErrLimit, len(actions), MaxActions)
	}
	total := 0
	seen := make(map[Key]struct{}, len(actions))
	for _, a := range actions {
		if err := validateKey(a.Item.Key); err != nil {
			return err
		}
		if _, twice := seen[a.Item.Key]; twice {
			return fmt.Errorf("%w: two actions on %s", ErrLimit, a.Item.Key)
		}
		seen[a.Item.Key] = struct{}{}
		if a.Kind > ActionCheck || a.If.Kind > ConditionVersion {
			return fmt.Errorf("%w: unknown action or condition on %s", ErrLimit, a.Item.Key)
		}
		size := a.Item.Size()
		if a.Kind == ActionPut && a.Item.Version == "" {
			return fmt.Errorf("%w: item %s has no version", ErrLimit, a.Item.Key)
		}
		if size > MaxItemBytes {
			return fmt.Errorf("%w: item %s has %d bytes, want at most %d", ErrLimit, a.Item.Key, size, MaxItemBytes)
		}
		total += size
	}
	if total > MaxWriteBytes {
		return fmt.Errorf("%w: %d bytes in one write, want at most %d", ErrLimit, total, MaxWriteBytes)
	}
	return nil
}

// ValidateKeys returns an error wrapping ErrLimit if the keys of a BatchGet
// (or the one key of a Get) break the contract.
func ValidateKeys(keys ...Key) error {
	if len(keys) == 0 || len(keys) > MaxBatchGet {
		return fmt.Errorf("%w: %d keys in one read, want 1 to %d", ErrLimit, len(keys), MaxBatchGet)
	}
	seen := make(map[Key]struct{}, len(keys))
	for _, k := range keys {
		if err := validateKey(k); err != nil {
			return err
		}
		if _, twice := seen[k]; twice {
			return fmt.Errorf("%w: key %s twice", ErrLimit, k)
		}
		seen[k] = struct{}{}
	}
	return nil
}

// ValidateRange returns an error wrapping ErrLimit if the range breaks the
// contract.
func ValidateRange(r Range) error {
	if r.PK == "" || r.Limit < 1 {
		return fmt.Errorf("%w: a query needs a partition and a limit of at least 1", ErrLimit)
	}
	for _, part := range [...]string{r.PK, r.Prefix, r.After, r.Before} {
		if part == "" {
			continue
		}
		if err := validateKeyPart(part); err != nil {
			return err
		}
	}
	return nil
}

func validateKey(k Key) error {
	if err := validateKeyPart(k.PK); err != nil {
		return err
	}
	return validateKeyPart(k.SK)
}

func validateKeyPart(part string) error {
	switch {
	case part == "" || len(part) > MaxKeyBytes:
		return fmt.Errorf("%w: a key part has %d bytes, want 1 to %d", ErrLimit, len(part), MaxKeyBytes)
	case strings.IndexByte(part, 0) >= 0:
		return fmt.Errorf("%w: NUL in key %q", ErrLimit, part)
	case !utf8.ValidString(part):
		// DynamoDB's client would store it with the bad bytes replaced, where
		// two keys become one.
		return fmt.Errorf("%w: key %q is not UTF-8", ErrLimit, part)
	}
	return nil
}
