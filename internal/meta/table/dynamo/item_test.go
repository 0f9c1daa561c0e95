package dynamo

import (
	"bytes"
	"crypto/rand"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// dynamoSize is the size of an item as DynamoDB counts it: the bytes of the
// names and of the values, strings in UTF-8.
func dynamoSize(a attributes) int {
	n := 0
	for name, v := range a {
		b, _ := bytesOf(v)
		n += len(name) + len(b)
	}
	return n
}

// TestLargestItem: what the contract allows, DynamoDB does, with room for the
// 100 bytes that it may add for itself.
func TestLargestItem(t *testing.T) {
	for _, value := range []byte{'v', 0xff} {
		it := table.Item{Key: table.Key{PK: "p", SK: "s"}, Version: "v"}
		it.Value = bytes.Repeat([]byte{value}, 1000)
		it.Body = make([]byte, table.MaxItemBytes-it.Size())
		if err := table.ValidateWrite([]table.Action{table.Put(it, table.Always())}); err != nil {
			t.Fatal(err)
		}
		a := encodeItem(it)
		a[attrWriter] = stringValue(rand.Text())
		if n := dynamoSize(a) + 100; n > 400*1024 {
			t.Errorf("%d bytes, DynamoDB takes %d", n, 400*1024)
		}
		perItem := dynamoSize(a) - it.Size() + 100
		if n := table.MaxWriteBytes + table.MaxActions*perItem; n > 4<<20 {
			t.Errorf("%d bytes in a transaction, DynamoDB takes %d", n, 4<<20)
		}
	}
	if n := len(rand.Text()); n > 36 {
		t.Errorf("a token of %d characters, DynamoDB takes 36", n)
	}
}

func TestEncode(t *testing.T) {
	str := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	bin := func(s string) types.AttributeValue { return &types.AttributeValueMemberB{Value: []byte(s)} }
	key := table.Key{PK: "p", SK: "s"}
	for _, c := range []struct {
		name string
		item table.Item
		want attributes
	}{
		{"JSON for people, body as it is", table.Item{Key: key, Version: "1", Value: []byte(`{"é":1}`), Body: []byte("{}")},
			attributes{"pk": str("p"), "sk": str("s"), "v": str("1"), "d": str(`{"é":1}`), "b": bin("{}")}},
		{"lines", table.Item{Key: key, Version: "1", Value: []byte("{\n\t}\r\n")},
			attributes{"pk": str("p"), "sk": str("s"), "v": str("1"), "d": str("{\n\t}\r\n")}},
		{"nothing", table.Item{Key: key, Version: "1", Value: []byte{}},
			attributes{"pk": str("p"), "sk": str("s"), "v": str("1")}},
		{"no UTF-8", table.Item{Key: key, Version: "\xff", Value: []byte("\xff")},
			attributes{"pk": str("p"), "sk": str("s"), "v": bin("\xff"), "d": bin("\xff")}},
		{"control characters", table.Item{Key: key, Version: "1", Value: []byte("a\x00")},
			attributes{"pk": str("p"), "sk": str("s"), "v": str("1"), "d": bin("a\x00")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := encodeItem(c.item)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			back, err := decodeItem(got)
			if err != nil || back.Key != c.item.Key || back.Version != c.item.Version ||
				!bytes.Equal(back.Value, c.item.Value) || !bytes.Equal(back.Body, c.item.Body) {
				t.Errorf("came back as %+v, error %v", back, err)
			}
		})
	}
}

// TestDecodeForeign: items of somebody else's are named, not misread.
func TestDecodeForeign(t *testing.T) {
	for _, strip := range []func(attributes){
		func(a attributes) { delete(a, attrPK) },
		func(a attributes) { delete(a, attrSK) },
		func(a attributes) { delete(a, attrVersion) },
		func(a attributes) { a[attrSK] = &types.AttributeValueMemberN{Value: "1"} },
		func(a attributes) { a[attrVersion] = &types.AttributeValueMemberN{Value: "1"} },
		func(a attributes) { a[attrVersion] = stringValue("") },
		func(a attributes) { a[attrValue] = &types.AttributeValueMemberM{} },
		func(a attributes) { a[attrBody] = &types.AttributeValueMemberBOOL{} },
	} {
		a := encodeItem(table.Item{Key: table.Key{PK: "p", SK: "s"}, Version: "1", Value: []byte("v"), Body: []byte("b")})
		strip(a)
		if it, err := decodeItem(a); !errors.Is(err, errNotOurs) || !strings.HasPrefix(err.Error(), "dynamo: ") {
			t.Errorf("%v decoded as %+v, error %v", a, it, err)
		}
	}
}
