package dynamo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// ErrInDoubt says that it cannot be told whether a Write happened: an answer
// got lost, and by the next attempt somebody else had replaced the item, either
// before this Write or after it.
var ErrInDoubt = errors.New("the answer to a write was lost and the item was replaced since")

// Write implements table.Table.
//
// An attempt whose answer got lost (a timeout, a broken connection, a 5xx) may
// have happened. How the next one finds out:
//
//   - A transaction carries a ClientRequestToken, the same in all attempts of
//     one Write. DynamoDB remembers it for 10 minutes: of a transaction that
//     happened it says so again, and does nothing. The token is random, not a
//     hash of the actions, because two Writes that are alike are still two:
//     a tag set to A, to B, and to A again. The attempts send the same input,
//     so an IdempotentParameterMismatchException is a bug, and final.
//   - A lone Put on condition of a version writes its own mark into the item.
//     If it happened, the condition does not hold any more, and DynamoDB
//     returns the item that is there: with the mark of this Write, that is a
//     success. Not the version is compared, because two writers who race may
//     both choose "3" to follow "2". With another mark it is [ErrInDoubt]. An
//     attempt that arrives after all, late, finds the condition failed.
//   - Nothing else is written without a token. A Put that comes twice may
//     bring back what another process deleted or replaced in between, and a
//     Delete may take what another one made.
//
// A transaction that was cancelled by a condition is refused, even where it
// collided with another one on other items: DynamoDB looked at that condition
// on an item that no transaction was changing, so there was a moment when it
// did not hold. The ConditionError may lack keys whose conditions would have
// failed, too; the engine does not know them then.
func (t *Table) Write(ctx context.Context, actions []table.Action) error {
	if err := table.ValidateWrite(actions); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("dynamo: write: %w", err)
	}
	// A check that always holds cannot be said in DynamoDB, and need not.
	actions = slices.DeleteFunc(slices.Clone(actions), func(a table.Action) bool {
		return a.Kind == table.ActionCheck && a.If.Kind == table.ConditionNone
	})
	switch {
	case len(actions) == 0:
		return nil
	case len(actions) > 1:
		return t.transact(ctx, actions)
	case actions[0].Kind == table.ActionCheck:
		return t.check(ctx, actions[0])
	case replacesVersion(actions[0]):
		return t.replace(ctx, actions[0])
	default:
		return t.transact(ctx, actions)
	}
}

// replacesVersion says that a Put, once done, cannot be done again: its
// condition fails then.
func replacesVersion(a table.Action) bool {
	return a.Kind == table.ActionPut && a.If.Kind == table.ConditionVersion && a.If.Version != a.Item.Version
}

// check performs a lone Check. One item at one moment is what a consistent
// GetItem reads.
func (t *Table) check(ctx context.Context, a table.Action) error {
	var out *dynamodb.GetItemOutput
	err := t.do(ctx, "write", func(ctx context.Context, _ *call) (err error) {
		out, err = t.client.GetItem(ctx, &dynamodb.GetItemInput{
			TableName:                t.name,
			Key:                      encodeKey(a.Item.Key),
			ConsistentRead:           aws.Bool(true),
			ProjectionExpression:     aws.String("#pk, #v"),
			ExpressionAttributeNames: map[string]string{"#pk": attrPK, "#v": attrVersion},
		}, oneAttempt)
		return err
	})
	if err != nil {
		return err
	}
	if !a.If.Holds(len(out.Item) > 0, versionOf(out.Item)) {
		return &table.ConditionError{Failed: []table.Key{a.Item.Key}}
	}
	return nil
}

// replace performs a lone Put on condition of a version.
func (t *Table) replace(ctx context.Context, a table.Action) error {
	mark := rand.Text()
	cond := conditionOf(a)
	item := encodeItem(a.Item)
	item[attrWriter] = stringValue(mark)
	var outcome error
	err := t.do(ctx, "write", func(ctx context.Context, c *call) error {
		in := &dynamodb.PutItemInput{
			TableName:                 t.name,
			Item:                      item,
			ConditionExpression:       cond.expression,
			ExpressionAttributeNames:  cond.names,
			ExpressionAttributeValues: cond.values,
		}
		if c.doubt != nil {
			in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
		}
		_, err := t.client.PutItem(ctx, in, oneAttempt)
		var failed *types.ConditionalCheckFailedException
		if !errors.As(err, &failed) {
			return err
		}
		found, _ := failed.Item[attrWriter].(*types.AttributeValueMemberS)
		switch {
		case c.doubt == nil:
			outcome = &table.ConditionError{Failed: []table.Key{a.Item.Key}}
		case found == nil || found.Value != mark:
			outcome = fmt.Errorf("dynamo: write %s: %w: %w", a.Item.Key, ErrInDoubt, c.doubt)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return outcome
}

// transact performs the actions as one transaction.
func (t *Table) transact(ctx context.Context, actions []table.Action) error {
	in := &dynamodb.TransactWriteItemsInput{
		ClientRequestToken: aws.String(rand.Text()),
		TransactItems:      make([]types.TransactWriteItem, len(actions)),
	}
	for i, a := range actions {
		in.TransactItems[i] = t.transactItem(a)
	}
	var refusal *table.ConditionError
	err := t.do(ctx, "write", func(ctx context.Context, _ *call) error {
		_, err := t.client.TransactWriteItems(ctx, in, oneAttempt)
		var cancelled *types.TransactionCanceledException
		if errors.As(err, &cancelled) {
			if refusal = refusalOf(actions, cancelled.CancellationReasons); refusal != nil {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// refusalOf names the actions whose conditions failed; nil if there is none.
// Reasons come in the order of the actions.
func refusalOf(actions []table.Action, reasons []types.CancellationReason) *table.ConditionError {
	var failed []table.Key
	for i, r := range reasons {
		if i < len(actions) && aws.ToString(r.Code) == "ConditionalCheckFailed" {
			failed = append(failed, actions[i].Item.Key)
		}
	}
	if failed == nil {
		return nil
	}
	return &table.ConditionError{Failed: failed}
}

func (t *Table) transactItem(a table.Action) types.TransactWriteItem {
	cond := conditionOf(a)
	switch a.Kind {
	case table.ActionPut:
		return types.TransactWriteItem{Put: &types.Put{
			TableName:                 t.name,
			Item:                      encodeItem(a.Item),
			ConditionExpression:       cond.expression,
			ExpressionAttributeNames:  cond.names,
			ExpressionAttributeValues: cond.values,
		}}
	case table.ActionDelete:
		return types.TransactWriteItem{Delete: &types.Delete{
			TableName:                 t.name,
			Key:                       encodeKey(a.Item.Key),
			ConditionExpression:       cond.expression,
			ExpressionAttributeNames:  cond.names,
			ExpressionAttributeValues: cond.values,
		}}
	default:
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName:                 t.name,
			Key:                       encodeKey(a.Item.Key),
			ConditionExpression:       cond.expression,
			ExpressionAttributeNames:  cond.names,
			ExpressionAttributeValues: cond.values,
		}}
	}
}

// condition is a table.Condition in DynamoDB's language; all nil if it always
// holds.
type condition struct {
	expression *string
	names      map[string]string // placeholders, so that no name is a reserved word
	values     attributes
}

func conditionOf(a table.Action) condition {
	key := map[string]string{"#pk": attrPK}
	switch a.If.Kind {
	case table.ConditionAbsent:
		return condition{expression: aws.String("attribute_not_exists(#pk)"), names: key}
	case table.ConditionPresent:
		return condition{expression: aws.String("attribute_exists(#pk)"), names: key}
	case table.ConditionVersion:
		return condition{
			expression: aws.String("#v = :v"),
			names:      map[string]string{"#v": attrVersion},
			values:     attributes{":v": encodeVersion(a.If.Version)},
		}
	}
	return condition{}
}
