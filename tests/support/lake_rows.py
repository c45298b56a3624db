"""Rows of the event tables as the pipeline's runs leave them, in bulk."""

from datetime import UTC, date, datetime, time
from typing import Any

import psycopg

DAY = date(2026, 3, 14)

_ENVELOPE = """
    event_id, correlation_id, occurred_at, schema_version, stream_sequence, content_capture
"""
_ENVELOPE_VALUES = """
    gen_random_uuid(), 'request-' || n, %(start)s::timestamptz + n * %(step)s::interval, 1, n,
    'full'
"""

_STATEMENTS = {
    "tool_calls": f"""
        INSERT INTO tool_calls ({_ENVELOPE}, tool_call_id, function_name, arguments, position,
                                model, backend)
        SELECT {_ENVELOPE_VALUES}, 'call_' || n,
               CASE WHEN n %% 3 = 0 THEN 'read_file' ELSE 'search' END,
               CASE WHEN n %% 10 = 0 THEN '{{not json' ELSE '{{"path": "."}}' END, 0,
               'qwen3', 'vllm'
        FROM generate_series(%(first)s::int, %(last)s::int) n
    """,
    "chat_history": f"""
        INSERT INTO chat_history ({_ENVELOPE}, dialect, model, backend, status, is_streaming,
                                  messages, answer, tools, parameters, finish_reason,
                                  prompt_tokens, completion_tokens, total_tokens,
                                  is_usage_estimate, started_at, duration_seconds,
                                  first_token_seconds, source_chunk_ids)
        SELECT {_ENVELOPE_VALUES}, 'openai.chat', 'qwen3', 'vllm',
               CASE WHEN n %% 20 = 0 THEN 'failed' ELSE 'completed' END, n %% 2 = 0,
               jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'question ' || n)),
               CASE WHEN n %% 20 = 0 THEN NULL
                    ELSE jsonb_build_object('role', 'assistant', 'content', 'answer ' || n) END,
               '[]', '{{"temperature": 0.2}}', 'stop', 100, 50, 150, false,
               %(start)s::timestamptz + n * %(step)s::interval, 0.5 + (n %% 100) / 100.0,
               0.1 + (n %% 10) / 100.0, ARRAY['00000000-0000-0000-0000-000000000001']
        FROM generate_series(%(first)s::int, %(last)s::int) n
    """,
    "chat_pairs": f"""
        INSERT INTO chat_pairs ({_ENVELOPE}, model, backend, is_complete, messages, prompt,
                                response, tools, content_sha256, finish_reason,
                                prompt_tokens, completion_tokens, total_tokens)
        SELECT {_ENVELOPE_VALUES}, 'qwen3', 'vllm', true,
               jsonb_build_array(
                   jsonb_build_object('role', 'user', 'content',
                       jsonb_build_array(jsonb_build_object('type', 'text', 'text', n::text))),
                   jsonb_build_object('role', 'assistant', 'content', E'line\\n"quoted" ' || n)),
               'question ' || n, 'answer ' || n, '[]', sha256((n %% 50)::text::bytea), 'stop',
               100, 50, 150
        FROM generate_series(%(first)s::int, %(last)s::int) n
    """,
    "retrieve_events": f"""
        INSERT INTO retrieve_events ({_ENVELOPE}, query, collection, method, top_k, hit_count,
                                     candidates, duration_seconds, status, embedding_model,
                                     rerank_model)
        SELECT {_ENVELOPE_VALUES}, 'question ' || n, 'default', 'hybrid', 5,
               CASE WHEN n %% 7 = 0 THEN 0 ELSE 2 END,
               CASE WHEN n %% 7 = 0 THEN '[]'::jsonb ELSE jsonb_build_array(
                   jsonb_build_object('chunk_id', '00000000-0000-0000-0000-000000000001',
                                      'rank', 1, 'vector_score', 0.75, 'fused_score', 0.9),
                   jsonb_build_object('chunk_id', '00000000-0000-0000-0000-000000000002',
                                      'rank', 2, 'text_score', 0.25)) END,
               0.02, 'ok', 'minilm', NULL
        FROM generate_series(%(first)s::int, %(last)s::int) n
    """,
    "compose_events": f"""
        INSERT INTO compose_events ({_ENVELOPE}, query, model, chunk_ids, dropped_chunk_ids,
                                    token_count, token_budget, duration_seconds)
        SELECT {_ENVELOPE_VALUES}, 'question ' || n, 'qwen3',
               ARRAY['00000000-0000-0000-0000-000000000001'],
               ARRAY['00000000-0000-0000-0000-000000000002'], 120, 2000, 0.001
        FROM generate_series(%(first)s::int, %(last)s::int) n WHERE n %% 7 <> 0
    """,
    "embedding_events": f"""
        INSERT INTO embedding_events ({_ENVELOPE}, model, kind, input_count, dimensions,
                                      duration_seconds, prompt_tokens)
        SELECT {_ENVELOPE_VALUES}, 'minilm', 'query', 1, 256, 0.004, 9
        FROM generate_series(%(first)s::int, %(last)s::int) n
    """,
    "flow_lineage": f"""
        INSERT INTO flow_lineage ({_ENVELOPE}, dialect, model, backend, status, started_at,
                                  duration_seconds, stages, source_chunk_ids, event_ids)
        SELECT {_ENVELOPE_VALUES}, 'openai.chat', 'qwen3', 'vllm', 'completed',
               %(start)s::timestamptz + n * %(step)s::interval, 0.6,
               '[{{"name": "retrieve", "offset_seconds": 0.0, "duration_seconds": 0.02,
                   "status": "ok", "details": {{"hits": 2}}}},
                 {{"name": "backend", "offset_seconds": 0.03, "duration_seconds": 0.5}}]',
               ARRAY['00000000-0000-0000-0000-000000000001'], ARRAY[]::text[]
        FROM generate_series(%(first)s::int, %(last)s::int) n
    """,
    "rerank_scores": """
        INSERT INTO rerank_scores (query_sha256, chunk_id, model, score, scored_at)
        SELECT sha256(n::text::bytea), '00000000-0000-0000-0000-000000000001', 'colbert',
               n / 1000.0, %(start)s::timestamptz + n * %(step)s::interval
        FROM generate_series(%(first)s::int, %(last)s::int) n
    """,
}


def insert_rows(
    connection: "psycopg.Connection[Any]",
    table: str,
    count: int,
    *,
    day: date = DAY,
    first: int = 0,
) -> None:
    """Insert `count` rows of `day`, numbered from `first`, a second apart."""
    connection.execute(
        _STATEMENTS[table],
        {
            "start": datetime.combine(day, time(), UTC),
            "step": "1 second",
            "first": first,
            "last": first + count - 1,
        },
    )


def insert_document(
    connection: "psycopg.Connection[Any]", chunk_count: int, *, day: date = DAY
) -> None:
    """Insert a document whose chunks were added at noon of `day`."""
    moment = datetime.combine(day, time(12), UTC)
    document = connection.execute(
        "INSERT INTO documents (document_id, collection, source, title, media_type,"
        " content_sha256, chunk_count) VALUES (gen_random_uuid(), 'default', 'a.md', 'A',"
        " 'text/markdown', sha256('a'), %s) RETURNING document_id",
        (chunk_count,),
    ).fetchone()
    assert document is not None
    connection.execute(
        "INSERT INTO document_chunks (chunk_id, document_id, collection, position, heading_path,"
        " headings, content, token_estimate, added_at)"
        " SELECT CASE n WHEN 0 THEN '00000000-0000-0000-0000-000000000001'::uuid"
        " ELSE gen_random_uuid() END, %s, 'default', n, ARRAY['A', 'B'], 'A', 'text', 3, %s"
        " FROM generate_series(0, %s::int) n",
        (document[0], moment, chunk_count - 1),
    )


def insert_everything(connection: "psycopg.Connection[Any]", count: int, day: date = DAY) -> None:
    """Insert `count` rows into every table of events, and a document of three chunks."""
    for table in _STATEMENTS:
        insert_rows(connection, table, count, day=day)
    insert_document(connection, 3, day=day)
