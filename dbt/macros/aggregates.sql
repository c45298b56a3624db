{#
    The value at a share of the ordered values (nearest rank), where `rank` numbers them from 1 and
    `count` is how many there are. Exact, so that every engine gives the same; the engines' own
    approximations differ.
#}
{% macro percentile(share, value, rank, count) -%}
    min(case when {{ rank }} >= {{ share }} * {{ count }} then {{ value }} end)
{%- endmacro %}

{# The share of rows, from 0 to 1, for which the condition is true. #}
{% macro share_of_rows(condition) -%}
    cast(count(case when {{ condition }} then 1 end) as double) / count(*)
{%- endmacro %}
