// franz-go, hamba/avro and net/http.
//
// It waits for all calls of a flush before it reads on. So one user's calls keep their order, and a slow one holds up all.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	inFlight     = 256
	atOnce       = 2000
	framingBytes = 5
	retryAfter   = 100 * time.Millisecond
)

type event struct {
	User struct {
		Phone *string `avro:"phone"`
	} `avro:"user"`
	Attributes map[string]any `avro:"attributes"`
}

type upsert struct {
	User struct {
		Phone string `json:"phone"`
	} `json:"user"`
	Properties map[string]any `json:"properties"`
}

func main() {
	schema := avro.MustParse(string(must(os.ReadFile(os.Getenv("BENCH_SCHEMA")))))
	events := must(strconv.Atoi(os.Getenv("BENCH_EVENTS")))
	window := time.Duration(must(strconv.ParseFloat(os.Getenv("BENCH_WINDOW_SECONDS"), 64)) * float64(time.Second))
	url := os.Getenv("BENCH_URL") + "/attributes/custom"
	kafka := must(kgo.NewClient(
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
	))
	calls := startCallers(url)
	context, seen, opened := context.Background(), 0, time.Time{}
	users := map[string]map[string]any{}
	for seen < events || len(users) > 0 {
		if seen < events {
			fetches := kafka.PollRecords(context, atOnce)
			if problems := fetches.Errors(); len(problems) > 0 {
				log.Fatal(problems[0].Err)
			}
			if len(users) == 0 {
				opened = time.Now()
			}
			fetches.EachRecord(func(record *kgo.Record) {
				seen++
				var one event
				if err := avro.Unmarshal(schema, record.Value[framingBytes:], &one); err != nil {
					log.Fatal(err)
				}
				merge(users, *one.User.Phone, one.Attributes)
			})
		}
		if len(users) > 0 && (seen >= events || time.Since(opened) >= window) {
			flush(calls, users)
			clear(users)
			if err := kafka.CommitUncommittedOffsets(context); err != nil {
				log.Fatal(err)
			}
		}
	}
	say("done")
	select {} // until the bench, which looks at this process's CPU time, ends it
}

func merge(users map[string]map[string]any, phone string, attributes map[string]any) {
	known := users[phone]
	if known == nil {
		users[phone] = attributes
		return
	}
	for name, value := range attributes {
		known[name] = value
	}
}

type call struct {
	phone      string
	attributes map[string]any
	done       *sync.WaitGroup
}

func startCallers(url string) chan<- call {
	calls := make(chan call)
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: inFlight, MaxConnsPerHost: inFlight},
	}
	for range inFlight {
		go func() {
			for one := range calls {
				send(client, url, one)
				one.done.Done()
			}
		}()
	}
	return calls
}

func flush(calls chan<- call, users map[string]map[string]any) {
	var done sync.WaitGroup
	done.Add(len(users))
	for phone, attributes := range users {
		calls <- call{phone, attributes, &done}
	}
	done.Wait()
}

// One call, again and again until it succeeds.
func send(client *http.Client, url string, one call) {
	var said upsert
	said.User.Phone, said.Properties = one.phone, one.attributes
	body := must(json.Marshal(said))
	for !succeeds(client, url, body) {
		time.Sleep(retryAfter)
	}
}

func succeeds(client *http.Client, url string, body []byte) bool {
	request := must(http.NewRequest(http.MethodPost, url, bytes.NewReader(body)))
	request.Header.Set("Authorization", "Bearer token")
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
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
