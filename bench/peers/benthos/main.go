// Benthos, the engine of Redpanda Connect: what can be said in its configuration is said there.
//
// The engine itself has neither a Kafka input nor Avro, so this input reads by franz-go, as Redpanda Connect's does, and
// decodes. It waits for all calls of a batch before it reads on. So one user's calls keep their order, and a slow one
// holds up all.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/hamba/avro/v2"
	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	atOnce       = 2000
	framingBytes = 5
)

type event struct {
	User struct {
		Phone *string `avro:"phone"`
	} `avro:"user"`
	Attributes map[string]any `avro:"attributes"`
}

//go:embed config.yaml
var config string

type input struct {
	kafka  *kgo.Client
	schema avro.Schema
	events int
	window time.Duration
	seen   int
	sent   []*kgo.Record // without an acknowledgement
	acked  chan error
}

func main() {
	window := must(strconv.ParseFloat(os.Getenv("BENCH_WINDOW_SECONDS"), 64))
	service.MustRegisterBatchInput("bench_kafka", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.BatchInput, error) {
			return &input{
				schema: avro.MustParse(string(must(os.ReadFile(os.Getenv("BENCH_SCHEMA"))))),
				events: must(strconv.Atoi(os.Getenv("BENCH_EVENTS"))),
				window: time.Duration(window * float64(time.Second)),
				acked:  make(chan error, 1),
			}, nil
		})
	builder := service.NewStreamBuilder()
	if err := builder.SetYAML(config); err != nil {
		log.Fatal(err)
	}
	log.Fatal(must(builder.Build()).Run(context.Background()))
}

func (i *input) Connect(context.Context) error {
	var err error
	i.kafka, err = kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BENCH_BROKERS")),
		kgo.ConsumerGroup(os.Getenv("BENCH_GROUP")),
		kgo.ConsumeTopics(os.Getenv("BENCH_TOPIC")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			if len(got) > 0 {
				say("assigned")
			}
		}),
	)
	return err
}

// The records of one window. If the last ones were not acknowledged, these again.
func (i *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	if i.sent != nil {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case err := <-i.acked:
			if err == nil {
				i.sent = nil
				if err := i.kafka.CommitUncommittedOffsets(ctx); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	if i.sent == nil && i.seen >= i.events {
		say("done")
		<-ctx.Done() // until the bench, which looks at this process's CPU time, ends it
		return nil, nil, ctx.Err()
	}
	if i.sent == nil {
		if err := i.read(ctx); err != nil {
			return nil, nil, err
		}
	}
	batch := make(service.MessageBatch, len(i.sent))
	for number, record := range i.sent {
		var one event
		if err := avro.Unmarshal(i.schema, record.Value[framingBytes:], &one); err != nil {
			return nil, nil, err
		}
		batch[number] = service.NewMessage(nil)
		batch[number].SetStructuredMut(map[string]any{"phone": *one.User.Phone, "attributes": one.Attributes})
	}
	return batch, func(_ context.Context, err error) error { i.acked <- err; return nil }, nil
}

func (i *input) read(ctx context.Context) error {
	opened := time.Now()
	for i.seen < i.events && (len(i.sent) == 0 || time.Since(opened) < i.window) {
		fetches := i.kafka.PollRecords(ctx, atOnce)
		if problems := fetches.Errors(); len(problems) > 0 {
			return problems[0].Err
		}
		if len(i.sent) == 0 {
			opened = time.Now()
		}
		records := fetches.Records()
		i.sent = append(i.sent, records...)
		i.seen += len(records)
	}
	return nil
}

func (i *input) Close(context.Context) error {
	i.kafka.Close()
	return nil
}

func say(what string) {
	fmt.Printf("%s %.6f\n", what, float64(time.Now().UnixMicro())/1e6)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
