// Follows every session: each change once, in order, none missing. github.com/rabbitmq/amqp091-go
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

type event struct {
	SessionId, Type string
	Epoch, Version  int
}

func (e event) isAfter(o event) bool {
	return e.Epoch > o.Epoch || e.Epoch == o.Epoch && e.Version > o.Version
}

var seen = map[string]event{} // keep it where the effect is kept, or the effect may come twice

func act(e event) { // what this service is for
	fmt.Println(e.SessionId, e.Epoch, e.Version, e.Type)
	seen[e.SessionId] = e
}

func missed(at event) (items []event, err error) {
	url := fmt.Sprintf("%s/sessions/%s/deltas?since=%d&epoch=%d&limit=100", os.Getenv("HANDOFF_URL"), at.SessionId, at.Version, at.Epoch)
	request, _ := http.NewRequest("GET", url, nil)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("HANDOFF_TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var page struct {
		Complete bool
		Items    []event
	}
	if err = json.NewDecoder(answer.Body).Decode(&page); err == nil && !page.Complete {
		err = errors.New("too long ago: GET the session and begin again from there")
	}
	return page.Items, err
}

func take(m amqp.Delivery) error {
	var e event
	if err := json.Unmarshal(m.Body, &e); err != nil || strings.Count(m.MessageId, ":") != 2 {
		return err // without a version (joined, broadcast, …) there is nothing to do
	}
	at, known := seen[e.SessionId]
	for known && e.isAfter(event{Epoch: at.Epoch, Version: at.Version + 1}) {
		items, err := missed(at)
		if err != nil {
			return err
		}
		if len(items) == 0 || !e.isAfter(items[0]) {
			break
		}
		for _, earlier := range items {
			if e.isAfter(earlier) {
				act(earlier)
			}
		}
		at = seen[e.SessionId]
	}
	if !known || e.isAfter(at) { // else it was told again
		act(e)
	}
	return nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	name := os.Getenv("QUEUE")
	if name == "" {
		name = "consumer.follow"
	}
	connection, err := amqp.Dial(os.Getenv("AMQP_URL"))
	must(err)
	channel, err := connection.Channel()
	must(err)
	must(channel.ExchangeDeclare(name+".dead", "fanout", true, false, false, false, nil))
	_, err = channel.QueueDeclare(name+".dead", true, false, false, false, nil)
	must(err)
	must(channel.QueueBind(name+".dead", "", name+".dead", false, nil))
	_, err = channel.QueueDeclare(name, true, false, false, false, amqp.Table{"x-dead-letter-exchange": name + ".dead"})
	must(err)
	must(channel.QueueBind(name, "session.#", "session_updates", false, nil))
	must(channel.Qos(100, 0, false))
	messages, err := channel.Consume(name, "", false, false, false, false, nil)
	must(err)
	fmt.Println("following")
	for m := range messages {
		if err := take(m); err != nil { // to our own dead letters, so that one bad message does not stop the rest
			fmt.Println("set aside:", err)
			must(m.Nack(false, false))
		} else {
			must(m.Ack(false)) // after the effect: else a crash would lose it
		}
	}
}
