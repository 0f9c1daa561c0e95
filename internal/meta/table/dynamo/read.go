package dynamo

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Get implements table.Table. It is one GetItem.
func (t *Table) Get(ctx context.Context, key table.Key) (table.Item, error) {
	if err := table.ValidateKeys(key); err != nil {
		return table.Item{}, err
	}
	var out *dynamodb.GetItemOutput
	err := t.do(ctx, "get", func(ctx context.Context, _ *call) (err error) {
		out, err = t.client.GetItem(ctx, &dynamodb.GetItemInput{
			TableName:      t.name,
			Key:            encodeKey(key),
			ConsistentRead: aws.Bool(true),
		}, oneAttempt)
		return err
	})
	if err != nil {
		return table.Item{}, err
	}
	if len(out.Item) == 0 {
		return table.Item{}, table.ErrNotFound
	}
	return decodeItem(out.Item)
}

// fullResponse is how many bytes of items show that a BatchGetItem ended at
// its bound, which is 16 MB, and not because DynamoDB throttles.
const fullResponse = 12_000_000

// errUnprocessed says that a BatchGetItem brought nothing forward.
var errUnprocessed = errors.New("all keys came back unprocessed")

// BatchGet implements table.Table. It is one BatchGetItem, and further ones
// for the keys that DynamoDB hands back, above 16 MB or when it throttles.
// The budget begins anew with every key that was read.
func (t *Table) BatchGet(ctx context.Context, keys []table.Key) ([]table.Item, error) {
	if err := table.ValidateKeys(keys...); err != nil {
		return nil, err
	}
	pending := make([]attributes, len(keys))
	for i, key := range keys {
		pending[i] = encodeKey(key)
	}
	items := make([]table.Item, 0, len(keys))
	for {
		found, rest, err := t.batch(ctx, pending)
		if err != nil {
			return nil, err
		}
		size := 0
		for _, a := range found {
			it, err := decodeItem(a)
			if err != nil {
				return nil, err
			}
			items = append(items, it)
			size += it.Size()
		}
		if len(rest) == 0 {
			return items, nil
		}
		pending = rest
		if size < fullResponse {
			if err := t.pause(ctx, 1); err != nil {
				return nil, fmt.Errorf("dynamo: batch get: %w", err)
			}
		}
	}
}

// batch reads at least one of the keys, and returns those that it did not.
func (t *Table) batch(ctx context.Context, keys []attributes) (found, rest []attributes, err error) {
	err = t.do(ctx, "batch get", func(ctx context.Context, _ *call) error {
		out, err := t.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{
				*t.name: {Keys: keys, ConsistentRead: aws.Bool(true)},
			},
		}, oneAttempt)
		if err != nil {
			return err
		}
		// One table was asked, so whatever is in the answer is of it: by its
		// name, even where the request had its ARN.
		found, rest = nil, nil
		for _, items := range out.Responses {
			found = append(found, items...)
		}
		for _, unprocessed := range out.UnprocessedKeys {
			rest = append(rest, unprocessed.Keys...)
		}
		if len(rest) >= len(keys) {
			return errUnprocessed
		}
		return nil
	})
	return found, rest, err
}
