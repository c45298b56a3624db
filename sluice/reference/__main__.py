"""Writes the generated pages: `python -m sluice.reference`."""

from sluice.reference import reference_pages

for file, content in reference_pages():
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    print(file)
