-- A change of a session costs its row and nothing else: no index has an entry for each version any more
-- (PostgreSQL's HOT), as due_at, which moves with every version, is in none.

-- When the backstop has to look at the row: due_at or earlier, so that nothing is missed; by at most half of
-- what due_at was ahead of updated_at, so that hardly anything is looked at in vain. NULL as due_at is.
ALTER TABLE sessions ADD COLUMN look_at timestamptz;
UPDATE sessions SET look_at = due_at WHERE due_at IS NOT NULL;

CREATE INDEX sessions_look ON sessions (look_at) WHERE look_at IS NOT NULL;
DROP INDEX sessions_due;

-- Room in each page for the next versions of its rows.
ALTER TABLE sessions SET (fillfactor = 60);

-- Whoever writes due_at, also a service of the version before, need not know of look_at.
CREATE FUNCTION sessions_move_look_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.look_at := NEW.due_at;
    RETURN NEW;
END
$$;
CREATE TRIGGER sessions_move_look_at BEFORE UPDATE OF due_at ON sessions
    FOR EACH ROW WHEN (NEW.look_at IS DISTINCT FROM NEW.due_at
                       AND (NEW.look_at IS NULL OR NEW.due_at IS NULL OR NEW.look_at > NEW.due_at
                            OR NEW.look_at - NEW.updated_at < NEW.due_at - NEW.look_at))
    EXECUTE FUNCTION sessions_move_look_at();

-- A BEFORE INSERT trigger would run for each row that turns out to be there.
CREATE FUNCTION sessions_set_look_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sessions SET look_at = due_at WHERE id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER sessions_set_look_at AFTER INSERT ON sessions
    FOR EACH ROW WHEN (NEW.look_at IS NULL AND NEW.due_at IS NOT NULL)
    EXECUTE FUNCTION sessions_set_look_at();
