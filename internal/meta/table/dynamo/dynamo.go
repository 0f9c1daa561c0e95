// Package dynamo is the engine of the table contract on Amazon DynamoDB.
//
// An item of the contract is an item of one DynamoDB table, whose names are
// short because they count towards the item's size and price:
//
//	pk  S  partition key (HASH)
//	sk  S  sort key (RANGE): DynamoDB orders strings by their bytes of UTF-8
//	v   S  version
//	d   S  value where it is text, so that a person can read it in the console; else B
//	b   B  body
//	w   S  who wrote it, where a write has to recognise itself (see write.go)
//
// Reads are consistent reads. Each is one call, but for what DynamoDB hands
// back unprocessed. A Write is
//
//	nothing to demand                    no call
//	one Check                            GetItem, a tenth of the price of a transaction
//	one Put on condition of a version    PutItem, half the price of a transaction
//	all else                             TransactWriteItems with a ClientRequestToken
//
// Every call is tried again within a budget; see retry.go for which errors,
// and write.go for how a Write that may have happened already is not done twice.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Options say which table to open. Either Client is given, or Region and, for
// anything but AWS itself, Endpoint.
type Options struct {
	// TableName is the name, or the ARN, of the table. Required.
	TableName string
	// Client is what the process uses for DynamoDB anyway. Its own retries are
	// switched off for the calls of the table.
	Client *dynamodb.Client
	// Endpoint is the URL of a stand-in or a VPC endpoint. Empty: AWS.
	Endpoint string
	// Region is required where there is no Client.
	Region string
	// Credentials sign the requests. They may be nil where there is an
	// Endpoint: stand-ins take any.
	Credentials aws.CredentialsProvider
	// HTTPClient sends the requests. Nil: the SDK's own.
	HTTPClient aws.HTTPClient
	// Retry bounds how often and how long a call is tried. Zero fields have
	// defaults.
	Retry Retry
}

// Table is a table.Table in DynamoDB. It holds nothing but the client.
type Table struct {
	client *dynamodb.Client
	name   *string
	retry  Retry
}

var _ table.Table = (*Table)(nil)

// Open returns the table. It calls nobody: whether the table exists shows with
// the first read, so that a function that starts loses no time.
func Open(_ context.Context, o Options) (*Table, error) {
	if o.TableName == "" {
		return nil, errors.New("dynamo: open: no table name")
	}
	client := o.Client
	if client == nil {
		if o.Region == "" {
			return nil, errors.New("dynamo: open: neither a client nor a region")
		}
		options := dynamodb.Options{Region: o.Region, Credentials: o.Credentials, HTTPClient: o.HTTPClient}
		if o.Endpoint != "" {
			options.BaseEndpoint = aws.String(o.Endpoint)
		}
		switch {
		case options.Credentials != nil:
		case o.Endpoint != "":
			options.Credentials = aws.CredentialsProviderFunc(placeholder)
		default:
			return nil, errors.New("dynamo: open: no credentials for AWS")
		}
		client = dynamodb.New(options)
	}
	return &Table{client: client, name: aws.String(o.TableName), retry: o.Retry.withDefaults()}, nil
}

// placeholder signs requests to stand-ins, which look at the form only.
func placeholder(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "slipway", SecretAccessKey: "slipway", Source: "dynamo.Open"}, nil
}

// oneAttempt switches the SDK's retries off: the engine has its own, and two
// loops would multiply. The SDK's could not see the reasons of a cancelled
// transaction, nor tell what may have happened.
func oneAttempt(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// CreateTable makes the table if it is not there and waits until it can be
// used. It is for tests and stand-ins: on AWS the table belongs to the stack,
// with its backups, protection and stream.
func (t *Table) CreateTable(ctx context.Context) error {
	_, err := t.client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: t.name,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(attrPK), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(attrSK), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(attrPK), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(attrSK), AttributeType: types.ScalarAttributeTypeS},
		},
		BillingMode: types.BillingModePayPerRequest,
	})
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("dynamo: create table %s: %w", *t.name, err)
	}
	wait := dynamodb.NewTableExistsWaiter(t.client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 100*time.Millisecond, 5*time.Second
	})
	if err := wait.Wait(ctx, &dynamodb.DescribeTableInput{TableName: t.name}, 2*time.Minute); err != nil {
		return fmt.Errorf("dynamo: wait for table %s: %w", *t.name, err)
	}
	return nil
}

// Close implements table.Table. There is nothing to release: the client is the
// caller's, and idle connections end by themselves.
func (t *Table) Close() error { return nil }
