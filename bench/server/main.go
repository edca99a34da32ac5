// A compiled destination: it answers 200 to every call, counts them, and says on stdout which port it serves.
//
// GET / tells the counts so far. GET /delays tells, and forgets, how long each value of "sent_us" had been under way,
// in microseconds. Every other request is a call.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// Over the limit or down, a call is counted apart: it has changed nothing.
type counts struct {
	Calls   int     `json:"calls"`
	Limited int     `json:"limited"`
	Down    int     `json:"down"`
	First   float64 `json:"first"`
	Last    float64 `json:"last"`
}

type destination struct {
	delay time.Duration
	limit int
	down  time.Duration

	lock   sync.Mutex
	counts counts
	second int64
	inIt   int
	upAt   time.Time
	delays []int64
}

var sentKey = []byte(`"sent_us":`)

func main() {
	delay := flag.Duration("delay", 0, "how long each call takes")
	limit := flag.Int("limit", 0, "calls accepted in a second by the clock, the rest are answered 429; 0 is no limit")
	down := flag.Duration("down", 0, "how long calls are answered 503, from the first one")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: &destination{delay: *delay, limit: *limit, down: *down}}
	log.Fatal(server.Serve(listener))
}

func (d *destination) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodGet {
		d.tell(answer, request.URL.Path)
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	status, left := d.received(body, time.Now())
	if d.delay > 0 {
		time.Sleep(d.delay)
	}
	head := answer.Header()
	head.Set("Content-Type", "application/json")
	if d.limit > 0 {
		head.Set("x-ratelimit-limit", strconv.Itoa(d.limit))
		head.Set("x-ratelimit-remaining", strconv.Itoa(max(left, 0)))
	}
	answer.WriteHeader(status)
	io.WriteString(answer, "{}")
}

// The status of a call, and how many more this second takes.
func (d *destination) received(body []byte, now time.Time) (int, int) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.upAt.IsZero() {
		d.upAt = now.Add(d.down)
	}
	if now.Before(d.upAt) {
		d.counts.Down++
		return http.StatusServiceUnavailable, d.limit
	}
	if d.second != now.Unix() {
		d.second, d.inIt = now.Unix(), 0
	}
	d.inIt++
	if d.limit > 0 && d.inIt > d.limit {
		d.counts.Limited++
		return http.StatusTooManyRequests, 0
	}
	d.counts.Calls++
	d.counts.Last = float64(now.UnixMicro()) / 1e6
	if d.counts.First == 0 {
		d.counts.First = d.counts.Last
	}
	if sent, ok := sentAt(body); ok {
		d.delays = append(d.delays, now.UnixMicro()-sent)
	}
	return http.StatusOK, d.limit - d.inIt
}

func sentAt(body []byte) (int64, bool) {
	at := bytes.Index(body, sentKey)
	if at < 0 {
		return 0, false
	}
	digits := body[at+len(sentKey):]
	end := 0
	for end < len(digits) && '0' <= digits[end] && digits[end] <= '9' {
		end++
	}
	sent, err := strconv.ParseInt(string(digits[:end]), 10, 64)
	return sent, err == nil
}

func (d *destination) tell(answer http.ResponseWriter, path string) {
	d.lock.Lock()
	defer d.lock.Unlock()
	answer.Header().Set("Content-Type", "application/json")
	if path == "/delays" {
		json.NewEncoder(answer).Encode(append([]int64{}, d.delays...))
		d.delays = nil
		return
	}
	json.NewEncoder(answer).Encode(d.counts)
}
