"""What files may say: `pipeline` one training after another, `search_space` what to search in one of them.

`schema` turns signatures into schemas and mistakes into messages; `packaged` finds the files that come with the
package.
"""
