"""Which streams a routine's documents show something of, so that whoever keeps such documents knows which events change them."""

from uuid import UUID

from projections.engine.documents import BatchedDocs, Docs

# Adds to the stream `s` of an event the routine to which it belongs, as the query of `present_positions.positions_query` takes it: that of a run,
# of a trigger, or of an issue that a run has opened.
OWNERS = """
    UNION ALL SELECT routine_id FROM run WHERE id = s.id
    UNION ALL SELECT routine_id FROM routine_trigger WHERE id = s.id
    UNION ALL SELECT origin_id FROM issue WHERE id = s.id AND origin_id IS NOT NULL"""
# The routine itself, the streams beside it of which its detail shows something, and its triggers: a deleted one has no row any
# more that says whose it was.
STREAMS = BatchedDocs(
    Docs(
        """SELECT to_json(ARRAY[id, project_id, (doc->>'assigneeAgentId')::uuid, (doc->>'parentIssueId')::uuid]
            || ARRAY(SELECT t.id FROM routine_trigger t WHERE t.routine_id = o.id)) AS doc
        FROM routine o WHERE id = %(id)s""",
        list[UUID | None],
    ),
    id="uuid",
)
