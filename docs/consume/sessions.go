// Every change of every session once, in order, none missing, for a service with a PostgreSQL database of its own: copy this file beside
// your program. github.com/rabbitmq/amqp091-go, github.com/lib/pq. Where the servers are is in the environment: AMQP_URL, DATABASE_URL,
// HANDOFF_URL, HANDOFF_TOKEN.
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	_ "github.com/lib/pq"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	positions = `create table if not exists handoff_positions (session text primary key, epoch bigint not null, version bigint not null)`
	reached   = `select epoch, version from handoff_positions where session = $1`
	advance   = `insert into handoff_positions as at values ($1, $2, $3) on conflict (session) do update set epoch = excluded.epoch,
		version = excluded.version where (at.epoch, at.version) < (excluded.epoch, excluded.version)`
)

type event struct {
	SessionID, Type, Timestamp string
	Epoch, Version             int64
	Body                       []byte `json:"-"` // all of it, as JSON; of a state_sync the session
}

func parse(body []byte) (event, error) {
	e := event{Body: body}
	err := json.Unmarshal(body, &e)
	return e, err
}

type effect func(tx *sql.Tx, e event) error

var (
	client  = http.Client{Timeout: 10 * time.Second}
	errAway = errors.New("Handoff does not answer as it should") // it passes
	errGone = errors.New("the session is not there any more")
)

// follow calls the effect in the transaction that moves the session's position. schema: SQL that makes the effect's tables. It returns
// when a server is away: to be started again; what was not acknowledged comes again.
func follow(queue, schema string, act effect) error {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	if _, err = db.Exec(positions + ";" + schema); err != nil {
		return err
	}
	connection, err := amqp.Dial(os.Getenv("AMQP_URL"))
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err = declare(channel, queue); err != nil {
		return err
	}
	messages, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	fmt.Println("following")
	for m := range messages {
		if err = handle(db, act, m); err != nil {
			return err
		}
	}
	return errors.New("the broker or the queue is gone")
}

func declare(channel *amqp.Channel, queue string) error {
	dead := queue + ".dead"
	if err := channel.ExchangeDeclare(dead, "fanout", true, false, false, false, nil); err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(dead, true, false, false, false, nil); err != nil {
		return err
	}
	if err := channel.QueueBind(dead, "", dead, false, nil); err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-dead-letter-exchange": dead}); err != nil {
		return err
	}
	if err := channel.QueueBind(queue, "session.#", "session_updates", false, nil); err != nil {
		return err
	}
	return channel.Qos(100, 0, false)
}

func handle(db *sql.DB, act effect, m amqp.Delivery) error {
	var err error
	if strings.Count(m.MessageId, ":") == 2 { // a version; what is none (joined, broadcast, …) has a UUID there
		var e event
		if e, err = parse(m.Body); err == nil {
			err = e.take(db, act)
		}
	}
	if err == nil {
		return m.Ack(false) // after the effect: else a crash would lose it
	}
	if errors.Is(err, errAway) || db.Ping() != nil {
		return err // to set aside all that comes meanwhile would help nobody
	}
	fmt.Println("set aside:", err) // to our own dead letters, so that one bad message does not stop the rest
	return m.Nack(false, false)
}

// take acts upon what is missing before the event, then upon the event.
func (e event) take(db *sql.DB, act effect) error {
	for {
		var epoch, version int64 = 1, 0
		err := db.QueryRow(reached, e.SessionID).Scan(&epoch, &version)
		if err != nil && err != sql.ErrNoRows { // of what is new to this service all
			return err
		}
		if e.Epoch == epoch && e.Version <= version+1 {
			return e.apply(db, act)
		}
		missed, err := missedSince(e.SessionID, epoch, version)
		if err != nil && !errors.Is(err, errGone) {
			return err
		}
		for _, earlier := range missed {
			if err = earlier.apply(db, act); err != nil {
				return err
			}
		}
		if len(missed) == 0 || missed[0].Type == "state_sync" {
			return e.apply(db, act)
		}
	}
}

func (e event) apply(db *sql.DB, act effect) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	result, err := tx.Exec(advance, e.SessionID, e.Epoch, e.Version)
	if err != nil {
		return err
	}
	if n, _ := result.RowsAffected(); n == 0 {
		return nil // it was told before, to this process or another
	}
	if err = act(tx, e); err != nil {
		return err
	}
	return tx.Commit()
}

// missedSince gives the events since a position. Where they are too long ago, or the session was rebuilt in another epoch, it is one, a
// state_sync: to begin again from what the session is now.
func missedSince(session string, epoch, version int64) ([]event, error) {
	var page struct {
		Complete bool
		Items    []json.RawMessage
	}
	err := ask(fmt.Sprintf("%s/deltas?since=%d&epoch=%d&limit=100", session, version, epoch), &page)
	if err == nil && !page.Complete {
		return now(session)
	}
	events := make([]event, len(page.Items))
	for i := 0; err == nil && i < len(events); i++ {
		events[i], err = parse(page.Items[i])
	}
	return events, err
}

func now(session string) ([]event, error) {
	var body json.RawMessage
	if err := ask(session, &body); err != nil {
		return nil, err
	}
	e, err := parse(body)
	if err != nil {
		return nil, err
	}
	var more struct{ UpdatedAt string }
	err = json.Unmarshal(body, &more)
	e.Type, e.SessionID, e.Timestamp = "state_sync", session, more.UpdatedAt
	return []event{e}, err
}

// ask decodes what GET /sessions/{path} answers.
func ask(path string, into any) error {
	request, err := http.NewRequest("GET", os.Getenv("HANDOFF_URL")+"/sessions/"+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("HANDOFF_TOKEN"))
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %v", errAway, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return errGone
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: HTTP %d", errAway, answer.StatusCode)
	}
	if err = json.NewDecoder(answer.Body).Decode(into); err != nil {
		return fmt.Errorf("%w: %v", errAway, err)
	}
	return nil
}
