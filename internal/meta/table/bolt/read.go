package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// maxPageBytes ends a page of a Query as DynamoDB does: a caller that forgets
// More finds out here too, and a page of large items stays small in memory.
const maxPageBytes = 1 << 20

// Get implements table.Table.
func (t *Table) Get(ctx context.Context, key table.Key) (table.Item, error) {
	if err := table.ValidateKeys(key); err != nil {
		return table.Item{}, err
	}
	var it table.Item
	err := t.view(ctx, "get", func(b *bbolt.Bucket) error {
		raw := b.Get(encodeKey(key))
		if raw == nil {
			return table.ErrNotFound
		}
		var err error
		it, err = decodeItem(key, raw)
		return err
	})
	return it, err
}

// BatchGet implements table.Table. All items come from one moment, in the
// order of the keys.
func (t *Table) BatchGet(ctx context.Context, keys []table.Key) ([]table.Item, error) {
	if err := table.ValidateKeys(keys...); err != nil {
		return nil, err
	}
	items := make([]table.Item, 0, len(keys))
	err := t.view(ctx, "batch get", func(b *bbolt.Bucket) error {
		for _, key := range keys {
			raw := b.Get(encodeKey(key))
			if raw == nil {
				continue
			}
			it, err := decodeItem(key, raw)
			if err != nil {
				return err
			}
			items = append(items, it)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// Query implements table.Table. A page comes from one moment, has at most
// Limit items and, where it has more than one, at most 1 MiB of them; More is
// exact. It costs one descent of the tree plus the items returned, whatever
// the size of the partition.
func (t *Table) Query(ctx context.Context, r table.Range) (table.Page, error) {
	if err := table.ValidateRange(r); err != nil {
		return table.Page{}, err
	}
	page := table.Page{Last: r.After}
	err := t.view(ctx, "query", func(b *bbolt.Bucket) error {
		return scan(b.Cursor(), r, &page)
	})
	if err != nil {
		return table.Page{}, err
	}
	return page, nil
}

// scan fills page with the items of r that c finds.
func scan(c *bbolt.Cursor, r table.Range, page *table.Page) error {
	partition := appendPartition(nil, r.PK)
	// Whatever precedes either of the two bounds is out of range.
	k, raw := c.Seek(append(partition[:len(partition):len(partition)], max(r.After, r.Prefix)...))
	size := 0
	for ; k != nil; k, raw = c.Next() {
		sk, inside := bytes.CutPrefix(k, partition)
		// From the first bound on, keys with the prefix come before all
		// others: the first one without it ends the range.
		if !inside || !bytes.HasPrefix(sk, []byte(r.Prefix)) {
			return nil
		}
		if r.Before != "" && string(sk) >= r.Before {
			return nil
		}
		if r.After != "" && string(sk) == r.After {
			continue
		}
		size += len(raw)
		if len(page.Items) == r.Limit || len(page.Items) > 0 && size > maxPageBytes {
			page.More = true
			return nil
		}
		it, err := decodeItem(table.Key{PK: r.PK, SK: string(sk)}, raw)
		if err != nil {
			return err
		}
		page.Items = append(page.Items, it)
		page.Last = it.SK
	}
	return nil
}

// view runs fn on a snapshot of the items.
func (t *Table) view(ctx context.Context, op string, fn func(*bbolt.Bucket) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("bolt: %s: %w", op, err)
	}
	err := t.db.View(func(tx *bbolt.Tx) error { return fn(tx.Bucket(bucketName)) })
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
