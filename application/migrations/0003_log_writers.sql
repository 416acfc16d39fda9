-- Who had logged in when an event was recorded, and by which rules the log judges its writers.

ALTER TABLE log.events ADD COLUMN IF NOT EXISTS recorded_by text;  -- who had logged in; NULL: recorded before this column

-- What the owner lets writers do. `max_clock_difference` NULL: their clocks and the JSON of bodies are not looked at.
CREATE TABLE IF NOT EXISTS log.rules (
    one                  boolean  PRIMARY KEY DEFAULT true CHECK (one),
    max_clock_difference interval DEFAULT '5 minutes' CHECK (max_clock_difference >= '0')
);
INSERT INTO log.rules DEFAULT VALUES ON CONFLICT DO NOTHING;
