package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// The layout of the file. All items are in one bucket, under
//
//	┌───────────────┬──────┬──────────────┐
//	│ partition key │ 0x00 │ sort key     │
//	└───────────────┴──────┴──────────────┘
//
// Neither part holds a NUL, so the first one ends the partition key, the items
// of a partition are neighbours, in the order of the bytes of their sort keys,
// and no partition reaches into another whose name begins alike: "a" 0x00 sorts
// before "a#" and before "ab".
//
// The value is
//
//	┌────────┬─────────────────┬─────────┬───────────────┬───────┬──────┐
//	│ format │ length, uvarint │ version │ length, uvarint │ value │ body │
//	└────────┴─────────────────┴─────────┴───────────────┴───────┴──────┘
//	  1 byte                                                to the end ─┘
//
// A later format gets another first byte, and decode goes on reading this one.
const formatOne = 1

const keySeparator = 0

var errCorrupt = errors.New("item is cut short")

// appendPartition appends what the keys of all items of a partition begin with.
func appendPartition(b []byte, pk string) []byte {
	return append(append(b, pk...), keySeparator)
}

func encodeKey(k table.Key) []byte {
	b := make([]byte, 0, len(k.PK)+1+len(k.SK))
	return append(appendPartition(b, k.PK), k.SK...)
}

func encodeItem(it table.Item) []byte {
	n := 1 + 2*binary.MaxVarintLen32 + len(it.Version) + len(it.Value) + len(it.Body)
	b := make([]byte, 0, n)
	b = append(b, formatOne)
	b = binary.AppendUvarint(b, uint64(len(it.Version)))
	b = append(b, it.Version...)
	b = binary.AppendUvarint(b, uint64(len(it.Value)))
	b = append(b, it.Value...)
	return append(b, it.Body...)
}

// decodeVersion returns the version in raw and the rest behind it, both still
// the bytes of raw.
func decodeVersion(raw []byte) (version, rest []byte, err error) {
	if len(raw) == 0 {
		return nil, nil, errCorrupt
	}
	if raw[0] != formatOne {
		return nil, nil, fmt.Errorf("item has format %d, which only a later release can read", raw[0])
	}
	return cutField(raw[1:])
}

// decodeItem returns the item stored as raw under k. It copies: raw is the
// file's memory and ends with the transaction.
func decodeItem(k table.Key, raw []byte) (table.Item, error) {
	version, rest, err := decodeVersion(raw)
	if err != nil {
		return table.Item{}, fmt.Errorf("bolt: read %s: %w", k, err)
	}
	value, _, err := cutField(rest)
	if err != nil {
		return table.Item{}, fmt.Errorf("bolt: read %s: %w", k, err)
	}
	_, rest, _ = cutField(rest)
	return table.Item{
		Key:     k,
		Version: string(version),
		Value:   bytes.Clone(value),
		Body:    bytes.Clone(rest),
	}, nil
}

// cutField cuts a field with its length in front off b.
func cutField(b []byte) (field, rest []byte, err error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, errCorrupt
	}
	b = b[used:]
	return b[:n], b[n:], nil
}
