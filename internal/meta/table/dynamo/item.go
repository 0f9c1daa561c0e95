package dynamo

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// The attributes of an item. The name ttl is reserved for an expiry time, for
// which DynamoDB deletes items by itself.
const (
	attrPK      = "pk"
	attrSK      = "sk"
	attrVersion = "v"
	attrValue   = "d"
	attrBody    = "b"
	attrWriter  = "w"
)

// attributes is an item, or the key of one, as DynamoDB sees it.
type attributes = map[string]types.AttributeValue

func encodeKey(k table.Key) attributes {
	return attributes{attrPK: stringValue(k.PK), attrSK: stringValue(k.SK)}
}

// encodeItem leaves out what is empty.
func encodeItem(it table.Item) attributes {
	a := encodeKey(it.Key)
	a[attrVersion] = encodeVersion(it.Version)
	if len(it.Value) > 0 {
		a[attrValue] = encodeValue(it.Value)
	}
	if len(it.Body) > 0 {
		a[attrBody] = &types.AttributeValueMemberB{Value: it.Body}
	}
	return a
}

func stringValue(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// encodeVersion is a String, but for versions that are no UTF-8: those would
// be sent with the bad bytes replaced, where two versions become one.
func encodeVersion(v string) types.AttributeValue {
	if utf8.ValidString(v) {
		return stringValue(v)
	}
	return &types.AttributeValueMemberB{Value: []byte(v)}
}

// encodeValue is a String where b is text, and Binary else.
func encodeValue(b []byte) types.AttributeValue {
	if isText(b) {
		return stringValue(string(b))
	}
	return &types.AttributeValueMemberB{Value: b}
}

// isText says whether b is UTF-8 without control characters. JSON writes one
// of those in six bytes, with which a request could grow over DynamoDB's 16 MB.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

var errNotOurs = errors.New("not an item that Slipway wrote")

func decodeItem(a attributes) (table.Item, error) {
	var it table.Item
	pk, okPK := a[attrPK].(*types.AttributeValueMemberS)
	sk, okSK := a[attrSK].(*types.AttributeValueMemberS)
	if !okPK || !okSK {
		return it, fmt.Errorf("dynamo: item without keys: %w", errNotOurs)
	}
	it.PK, it.SK = pk.Value, sk.Value
	version, ok := bytesOf(a[attrVersion])
	value, okValue := bytesOf(a[attrValue])
	body, okBody := bytesOf(a[attrBody])
	if !ok || len(version) == 0 || a[attrValue] != nil && !okValue || a[attrBody] != nil && !okBody {
		return table.Item{}, fmt.Errorf("dynamo: item %s: %w", it.Key, errNotOurs)
	}
	it.Version, it.Value, it.Body = string(version), value, body
	return it, nil
}

// versionOf is the version of an item of which only that was read.
func versionOf(a attributes) string {
	v, _ := bytesOf(a[attrVersion])
	return string(v)
}

// bytesOf returns what a String or Binary holds.
func bytesOf(v types.AttributeValue) ([]byte, bool) {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return []byte(v.Value), true
	case *types.AttributeValueMemberB:
		return v.Value, true
	}
	return nil, false
}
