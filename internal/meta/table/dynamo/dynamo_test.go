package dynamo

import (
	"cmp"
	"context"
	"os"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/tabletest"
)

func TestContractOnMoto(t *testing.T) {
	url := moto.start(t)
	tabletest.Run(t, func(t *testing.T) table.Table {
		return newTable(t, Options{Endpoint: url, Retry: quick})
	}, tabletest.Options{Serial: true, Small: true})
}

// TestContractOnMinidyn has the races and the large items of the suite. It leaves out the two
// groups that want all failed conditions named.
func TestContractOnMinidyn(t *testing.T) {
	url := minidyn.start(t)
	tabletest.Run(t, func(t *testing.T) table.Table {
		return newTable(t, Options{Endpoint: url, Retry: quick})
	}, tabletest.Options{Without: []string{"ConditionError", "Model"}})
}

// TestContractOnEndpoint runs the whole suite, races and large items included,
// on what DYNAMODB_ENDPOINT names: DynamoDB Local, or AWS itself with the
// usual variables for credentials and AWS_REGION. It uses the table
// DYNAMODB_TABLE and leaves its items in there, or else a table for the test.
func TestContractOnEndpoint(t *testing.T) {
	o := Options{
		Endpoint:    os.Getenv("DYNAMODB_ENDPOINT"),
		TableName:   os.Getenv("DYNAMODB_TABLE"),
		Region:      cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
		Credentials: environment(),
	}
	if o.Endpoint == "" {
		t.Skip("set DYNAMODB_ENDPOINT to run the suite on it")
	}
	var tab *Table
	if o.TableName == "" {
		tab = newTable(t, o)
	} else {
		var err error
		if tab, err = Open(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if err := tab.CreateTable(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	tabletest.Run(t, func(*testing.T) table.Table { return tab })
}
