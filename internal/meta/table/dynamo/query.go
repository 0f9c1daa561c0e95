package dynamo

import (
	"context"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Query implements table.Table. It is one Query call, which reads up to 1 MB.
// More may be true on the last page: DynamoDB stops at Limit without looking
// whether anything follows.
func (t *Table) Query(ctx context.Context, r table.Range) (table.Page, error) {
	if err := table.ValidateRange(r); err != nil {
		return table.Page{}, err
	}
	run := boundsOf(r)
	if run.empty() {
		return table.Page{Last: r.After}, nil
	}
	in := run.input(r)
	in.TableName = t.name
	var out *dynamodb.QueryOutput
	err := t.do(ctx, "query", func(ctx context.Context, _ *call) (err error) {
		out, err = t.client.Query(ctx, in, oneAttempt)
		return err
	})
	if err != nil {
		return table.Page{}, err
	}
	return run.page(r, out)
}

// bounds is the run of sort keys that a Range selects: from low on, to before
// high. Either may be empty, where there is no such bound.
type bounds struct {
	prefix    string // where it is the only bound
	low, high string
}

// boundsOf folds prefix, after and before into two bounds, because DynamoDB
// takes one condition on the sort key.
func boundsOf(r table.Range) bounds {
	if r.After == "" && r.Before == "" {
		return bounds{prefix: r.Prefix}
	}
	b := bounds{low: r.Prefix, high: r.Before}
	if r.After != "" {
		b.low = max(b.low, following(r.After))
		if following(r.After) == "" {
			// Nothing sorts behind it: a range that ends where it begins.
			b.low, b.high = r.After, r.After
			return b
		}
	}
	if r.Prefix != "" {
		if end := behind(r.Prefix); end != "" && (b.high == "" || end < b.high) {
			b.high = end
		}
	}
	return b
}

// empty says that no key is in the run. DynamoDB refuses a BETWEEN whose
// bounds contradict.
func (b bounds) empty() bool { return b.high != "" && b.low >= b.high }

func (b bounds) input(r table.Range) *dynamodb.QueryInput {
	condition := "#pk = :pk"
	names := map[string]string{"#pk": attrPK, "#sk": attrSK}
	values := attributes{":pk": stringValue(r.PK)}
	bind := func(name, value string) { values[name] = stringValue(value) }
	switch {
	case b.prefix != "":
		condition += " AND begins_with(#sk, :prefix)"
		bind(":prefix", b.prefix)
	case b.low != "" && b.high != "":
		// Both ends included: page takes the one item at high out again.
		condition += " AND #sk BETWEEN :low AND :high"
		bind(":low", b.low)
		bind(":high", b.high)
	case b.low != "":
		condition += " AND #sk >= :low"
		bind(":low", b.low)
	case b.high != "":
		condition += " AND #sk < :high"
		bind(":high", b.high)
	default:
		delete(names, "#sk") // an unused name is an error
	}
	return &dynamodb.QueryInput{
		KeyConditionExpression:    aws.String(condition),
		ExpressionAttributeNames:  names,
		ExpressionAttributeValues: values,
		ConsistentRead:            aws.Bool(true),
		Limit:                     aws.Int32(int32(min(r.Limit, math.MaxInt32))),
	}
}

// page is the answer to r.
func (b bounds) page(r table.Range, out *dynamodb.QueryOutput) (table.Page, error) {
	page := table.Page{Last: r.After, Items: make([]table.Item, 0, len(out.Items))}
	for _, a := range out.Items {
		it, err := decodeItem(a)
		if err != nil {
			return table.Page{}, err
		}
		if b.high != "" && it.SK >= b.high {
			return page, nil // the end of the run, so nothing follows
		}
		page.Items = append(page.Items, it)
		page.Last = it.SK
	}
	if last, ok := out.LastEvaluatedKey[attrSK].(*types.AttributeValueMemberS); ok {
		page.Last = last.Value
		page.More = true
	}
	return page, nil
}

// following is the least key behind s: s and the least character that a key
// may have, or, where that is too long for a key, what comes behind s and all
// that begins with it. Empty where nothing follows.
func following(s string) string {
	if len(s) < table.MaxKeyBytes {
		return s + "\x01"
	}
	return behind(s)
}

// behind is the least key that is greater than all keys that begin with s: s
// with its last character replaced by the next one. Empty where there is none.
// The order of the bytes of UTF-8 is the order of the characters.
func behind(s string) string {
	for s != "" {
		last, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
		if last == utf8.MaxRune {
			continue
		}
		next := last + 1
		if next == 0xD800 {
			next = 0xE000 // no characters in between
		}
		if len(s)+utf8.RuneLen(next) > table.MaxKeyBytes {
			continue // no key of s and a greater character is short enough
		}
		var b strings.Builder
		b.WriteString(s)
		b.WriteRune(next)
		return b.String()
	}
	return ""
}
