// Queries statusmirror and waits: go run read_and_wait.go BASE NUMBER MESSAGEID SECONDS
// The API key is in STATUSMIRROR_KEY.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// Message has the members of a message that this program uses. Add others as you need them.
type Message struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// Entry is the object around a message in a response.
type Entry struct {
	Message *Message `json:"message"`
}

// Mirror has the base URL of a statusmirror server and an API key.
type Mirror struct{ Base, Key string }

// Get decodes the response into answer, unless it is 404. It returns any other error.
func (m Mirror) Get(path string, seconds int, answer any) error {
	limit := time.Duration(seconds+10) * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Base+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Api-Key", m.Key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(response.Body).Decode(answer)
	case http.StatusNotFound:
		return nil
	default:
		return fmt.Errorf("%s", response.Status)
	}
}

// MessagesTo returns the messages to a destination.
func (m Mirror) MessagesTo(number string) ([]Entry, error) {
	var list struct{ Messages []Entry }
	err := m.Get("/api/messagestatus/phonenumber/"+url.PathEscape(number), 0, &list)
	return list.Messages, err
}

// Message returns the message, or nil if it is unknown.
func (m Mirror) Message(id string) (*Message, error) {
	var found Entry
	err := m.Get("/api/messagestatus/"+id, 0, &found)
	return found.Message, err
}

// WaitUntilFinal returns the message when its status is final, or its current state after the
// given time.
func (m Mirror) WaitUntilFinal(id string, seconds int) (*Message, error) {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		wait := int((time.Until(end) + time.Second - 1) / time.Second)
		if wait < 1 {
			wait = 1
		} else if wait > 60 {
			wait = 60
		}
		var found Entry
		path := fmt.Sprintf("/api/messagestatus/%s?wait=%d&until=final", id, wait)
		if err := m.Get(path, wait, &found); err != nil {
			return nil, err
		}
		if isFinal(found.Message) || !time.Now().Before(end) {
			return found.Message, nil
		}
	}
}

func isFinal(message *Message) bool {
	switch statusOf(message) {
	case "REJECTED", "UNDELIVERED", "DELIVERED", "READ":
		return true
	}
	return false
}

func statusOf(message *Message) string {
	if message == nil {
		return "unknown"
	}
	return message.Status
}

func main() {
	base, number, id := os.Args[1], os.Args[2], os.Args[3]
	seconds, err := strconv.Atoi(os.Args[4])
	check(err)
	mirror := Mirror{base, os.Getenv("STATUSMIRROR_KEY")}
	list, err := mirror.MessagesTo(number)
	check(err)
	for _, entry := range list {
		fmt.Println(entry.Message.ID, entry.Message.Status)
	}
	now, err := mirror.Message(id)
	check(err)
	fmt.Println("now", statusOf(now))
	then, err := mirror.WaitUntilFinal(id, seconds)
	check(err)
	fmt.Println("then", statusOf(then))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
